"""Objects and where they are kept: formats, the cache on this machine, remotes.

Nothing here knows git, pointers or the workspace.
"""
