"""`dvlite version`."""

from __future__ import annotations

import platform
import sys

import click

from dvlite._version import VERSION
from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import emit_json, say


@click.command()
@json_option
@common
def command(common: Common, as_json: bool) -> None:
    """Show the versions of dvlite and what it works with.

    \b
    Examples:
      dvlite version
      dvlite version --json
    """
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    from dvlite.gitcall import git_version

    found = {
        "dvlite": VERSION,
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "git": ".".join(str(number) for number in git_version()),
    }
    for package in ("blake3", "xxhash", "zstandard", "pyfastcdc", "fsspec", "s3fs"):
        try:
            found[package] = version_of(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if as_json:
        emit_json(found)
        return
    for key, value in found.items():
        say(f"{key} {value}")
