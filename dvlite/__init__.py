"""dvlite: version data and models with git.

Importing the package is instant: nothing but the version is loaded. The library's verbs are
the modules of `dvlite.ops`; the command line is `dvlite.cli`.
"""

from dvlite._version import VERSION as __version__

__all__ = ["__version__"]
