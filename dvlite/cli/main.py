"""The `dvlite` command: which verbs there are, and the one boundary where errors become words.

Owns the table of commands (each is imported only when it is used, so that `--version`, help and
completion are instant), the exit codes, and what a user sees when something goes wrong.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import NoReturn

import click

from dvlite._version import VERSION
from dvlite.errors import CorruptError, DvliteError, MissingError

# verb -> (module in dvlite.cli, the one line that help shows; it is checked against the command)
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Make a git repository a dvlite project."),
    "add": ("add", "Track files and folders, or take up what changed in them."),
    "status": ("status", "Show what changed, and what is missing or not pushed."),
    "diff": ("diff", "Show which files differ between revisions or the workspace."),
    "ls": ("ls", "List tracked files at a revision."),
    "log": ("log", "Show the commits that changed data."),
    "du": ("du", "Show the space that data takes, and what was saved."),
    "checkout": ("checkout", "Make the workspace match the pointers."),
    "get": ("get", "Get a file or folder at any revision, without a checkout."),
    "resolve": ("resolve", "Decide what git could not merge."),
    "rm": ("rm", "Stop tracking files and folders."),
    "mv": ("mv", "Move or rename tracked data with its pointer."),
    "remote": ("remote", "Manage the places that data is pushed to."),
    "config": ("config", "Show or change settings."),
    "cache": ("cache", "Show, move, share and limit the cache, and read from others."),
    "push": ("push", "Bring data to a remote."),
    "fetch": ("fetch", "Bring data from a remote into the cache."),
    "pull": ("pull", "Fetch, then check out."),
    "fsck": ("fsck", "Check that all data is there and undamaged, and mend it."),
    "gc": ("gc", "Remove from the cache what nothing names and a remote has."),
    "reproduce": ("reproduce", "Restore a past commit with its data into a new folder."),
    "run": ("run", "Run the stages of the pipeline whose inputs changed."),
    "stage": ("stage", "Define and list the stages of the pipeline."),
    "dag": ("dag", "Show the graph of the pipeline's stages."),
    "params": ("params", "Compare parameters between revisions."),
    "metrics": ("metrics", "Show and compare metrics of revisions."),
    "plots": ("plots", "Draw plots of data files and images, at one or several revisions."),
    "import-dvc": ("importdvc", "Take over what DVC tracks: data, remotes, and old versions."),
    "import-lfs": ("importlfs", "Take over files that git-lfs keeps, and old versions."),
    "install": (
        "install",
        "Tell git to work with dvlite: hooks, and drivers that merge and show pointers.",
    ),
    "doctor": ("doctor", "Examine the environment and say what is wrong."),
    "git-driver": ("gitdriver", "Merge and show pointers, for git itself."),
    "hook": ("hook", "Do what a hook of git is for; the hooks that dvlite install writes call it."),
    "version": ("version", "Show the versions of dvlite and what it works with."),
    "completion": ("completion", "Print the completion script of a shell."),
}
_INTERRUPTED = "interrupted; nothing is lost, run the command again"
# From Ctrl-C on: enough to name what has arrived, and to remove what is half done.
_leave_s = 1.0
_at_last: Callable[[], object] = int  # nothing
_STORAGE_ERRORS = {
    errno.ENOSPC: "free some space and run the command again",
    errno.EDQUOT: "your quota is used up; free some space and run the command again",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "check who owns it and its permissions",
    errno.EPERM: "check who owns it and its permissions",
    errno.EIO: "the disk reports an error; check it before going on",
    errno.ENAMETOOLONG: "the system takes no longer paths; shorten the names of folders above it",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
}


class _Unread(Exception):
    """Whoever read our output is gone."""


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; of a pipe that nobody reads click itself would make exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _Unread from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the table: the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"dvlite.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the commands that are close when there is none of this name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else "dvlite --help lists them"
            raise click.UsageError(f"there is no command {args[0]}\n{hint}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, about) for verb, (_, about) in COMMANDS.items()])


def _show_version(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"dvlite {VERSION}")
        ctx.exit()


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.option("-C", "directory", metavar="DIR", default=None, help="Work as if started in DIR.")
@click.pass_context
def dvlite(ctx: click.Context, directory: str | None) -> None:
    """Version data and models with git.

    Small pointer files in git name data that lives in a cache and on a deduplicated remote, so
    that one commit fixes code, data, models and parameters together.

    \b
    Examples:
      dvlite init                         make this git repository a project
      dvlite add images model.pt          track a folder and a file
      git commit -m "first model"         the pointers are staged already
      dvlite remote add store /mnt/store --default
      dvlite push                         share the data; git push shares the pointers
      dvlite pull                         after git clone or git pull
      dvlite reproduce v1.0               code, data and model of a past commit
    """
    ctx.ensure_object(dict)
    if directory is not None:
        ctx.obj["directory"] = directory


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0 done or clean, 1 differences, 2 wrong usage, and one
    code for each class of error (docs/commands.md lists them)."""
    interrupted = False
    with _leaving_soon():
        try:
            code = dvlite.main(arguments, prog_name="dvlite", standalone_mode=False)
            if sys.stdout is not None:  # closed by who started us
                sys.stdout.flush()
        except BaseException as error:
            interrupted = isinstance(error.__cause__ or error, KeyboardInterrupt)  # click's Abort
            code = _report(error)
            if "--bisect" in (sys.argv[1:] if arguments is None else arguments):
                code = _for_bisect(code)
    if interrupted:  # not waiting for requests that threads still make
        os._exit(130)
    sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _leaving_soon() -> Iterator[None]:
    """Ends the process a second after Ctrl-C, whatever it waits for: a request to a slow remote
    may take minutes, and cannot be broken off. That is safe at any moment, as it is for kill -9.

    The kernel's signal wakes a thread, because a library may hold the main one.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # nohup, or somebody who embeds us
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    except ValueError:  # not the main thread
        os.close(reading)
        os.close(writing)
        yield
        return
    threading.Thread(target=_watch, args=(reading,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)


def leave_within(seconds: float, at_last: Callable[[], None]) -> None:
    """Gives a command longer to end after Ctrl-C: it has commands of the user's to stop. `at_last`
    is called when it is not given that long, by a second Ctrl-C."""
    global _leave_s, _at_last
    _leave_s, _at_last = seconds, at_last


def _watch(reading: int) -> None:
    """Waits for Ctrl-C, and then for a second or a second Ctrl-C; the end of the pipe ends it."""
    with open(reading, "rb", buffering=0) as stream:
        while (signals := stream.read(64)) and signal.SIGINT not in signals:
            pass
        if not signals:
            return
        waited, _, _ = select.select([stream], [], [], _leave_s)
        if waited and not stream.read(64):
            return
    from dvlite.cli.output import stop_showing

    with suppress(OSError):
        _at_last()
    stop_showing()
    _say(_INTERRUPTED, None, 130)
    os._exit(130)


def _report(error: BaseException) -> int:
    """Says what went wrong; the exit code."""
    if os.environ.get("DVLITE_DEBUG"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, DvliteError):
        return _say(str(error), error.hint, error.exit_code)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return _say(_INTERRUPTED, None, 130)
    if isinstance(error, click.ClickException):
        return _report_usage(error)
    if isinstance(error, BrokenPipeError | _Unread):
        return _leave_quietly()
    return _report_system(error)


def _for_bisect(code: int) -> int:
    """An error's code for `git bisect run`, which takes 1 to 124 for the answer "bad", 125 for
    "cannot be tested", and stops at 128 and above."""
    if code in (0, 130):
        return code
    return 125 if code in (MissingError.exit_code, CorruptError.exit_code) else 128


def _report_usage(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 0
    message, _, hint = error.format_message().partition("\n")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "dvlite"
    text = message[:1].lower() + message[1:].rstrip(".")
    return _say(text, hint or f"{path} --help", 2)


def _report_system(error: BaseException) -> int:
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return _say(f"{where}{error.strerror}", _STORAGE_ERRORS[error.errno], 11)
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return _say(f"{where}{error.strerror}", None, 11)
    if isinstance(error, MemoryError):
        return _say("not enough memory", "close other programs, or use a larger machine", 11)
    return _say(
        f"a bug in dvlite: {type(error).__name__}: {error}",
        "please report it with the output of the same command after: export DVLITE_DEBUG=1",
        20,
    )


def _say(message: str, hint: str | None, code: int) -> int:
    from dvlite.cli.output import complain

    try:
        complain(message, hint)
    except OSError:
        return code
    return code


def _leave_quietly() -> int:
    """Whoever read our output is gone: leave without another error at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    return 141
