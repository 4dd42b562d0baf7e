"""Every error that dvlite raises on purpose, each class with its exit code.

An error says what is wrong and on what; `hint` says what to do next. The command line is the
one place that prints them. Codes 0 (done), 1 (differences found where a check was asked for)
and 2 (wrong usage) are git's and click's; the rest are listed in docs/commands.md.
"""

__all__ = [
    "ConflictError",
    "CorruptError",
    "DvliteError",
    "FormatVersionError",
    "LockError",
    "MissingError",
    "PartialError",
    "PathError",
    "PipelineError",
    "ProjectError",
    "RemoteError",
    "StageError",
    "StorageError",
    "UsageError",
]


class DvliteError(Exception):
    """Base of all intended errors: `str(error)` is the message, `hint` the way out."""

    exit_code = 20

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(DvliteError):
    """The call's arguments do not fit together."""

    exit_code = 2


class ProjectError(DvliteError):
    """No git repository, no dvlite project, or its configuration is invalid."""

    exit_code = 3


class PathError(DvliteError):
    """A path that cannot be used for what was asked."""

    exit_code = 4


class ConflictError(DvliteError):
    """Going on would lose edits or undo somebody's work."""

    exit_code = 5


class MissingError(DvliteError):
    """Something that was named (content, revision, pointer, remote) does not exist here."""

    exit_code = 6


class RemoteError(DvliteError):
    """The remote cannot be reached, refuses, or answers wrongly."""

    exit_code = 7


class CorruptError(DvliteError):
    """Bytes are not what their name or format promises: damage, or hostile input."""

    exit_code = 8


class FormatVersionError(CorruptError):
    """Written by a newer dvlite than this one."""

    exit_code = 9


class LockError(DvliteError):
    """Another process is writing, and did not finish in the time allowed."""

    exit_code = 10


class StorageError(DvliteError):
    """This machine's storage refuses: disk full, no permission, read-only."""

    exit_code = 11


class PartialError(DvliteError):
    """Some of what was asked is done, the rest is reported item by item."""

    exit_code = 12


class PipelineError(DvliteError):
    """`dvlite.yaml`, or a file that it names, cannot be used as it is."""

    exit_code = 13


class StageError(DvliteError):
    """A stage's command failed, or did not make what the stage promises."""

    exit_code = 14
