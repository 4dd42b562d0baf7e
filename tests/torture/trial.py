"""One scene, broken at one point: what is found then, and after the command that finishes it."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.torture import invariants
from tests.torture.scenes import BY_NAME, Scene, make_base
from tests.torture.shim import COUNT, FAULT, KILL, Control, Point
from tests.torture.stage import Command, Ran, Snapshot, Stage

# What a fault may end with (docs/commands.md): refused by a remote or by this machine's storage,
# or some of it done; 0 where dvlite can do without what failed.
FAULT_CODES = {0, 7, 11, 12}
_FOLDERS = ("work", "clone", "fresh")


@dataclass(slots=True)
class Reference:
    """How a scene begins, and how it ends when nothing disturbs it."""

    command: Command
    finishing: tuple[Command, ...]
    old: dict[str, Snapshot]
    new: dict[str, Snapshot] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    in_git: dict[str, set[str]] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    again_codes: tuple[int, ...] = ()
    code: int = 0
    points: int = 0


class Trials:
    """The trials of one stage. Scenes are prepared when they are first asked for."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._references: dict[str, Reference] = {}

    # -- preparing ---------------------------------------------------------------------------------

    def reference(self, name: str) -> Reference:
        if name not in self._references:
            self._references[name] = self._prepare(BY_NAME[name])
        return self._references[name]

    def _prepare(self, scene: Scene) -> Reference:
        stage = self.stage
        if not stage.knows("base"):
            make_base(stage)
            stage.keep("base")
        stage.restore("base")
        scene.prepare(stage)
        stage.keep(scene.name)
        names = {tag: stage.git("rev-parse", tag).strip() for tag in ("v1", "v2", "main")}
        command = _filled(scene.command, names)
        reference = Reference(command, scene.again or (command,), self.snapshots())
        reference.known = json.loads(self._forked(lambda: _print_committed(stage)))
        for folder in reference.old:
            reference.in_git[folder] = set(stage.git("ls-files", folder=folder).splitlines())
        ran, control = self.broken(scene.name, reference, Point(COUNT))
        assert ran.code == 0, f"{scene.name}: {ran.code} {ran.out} {ran.err}"
        reference.code, reference.points = ran.code, control
        for one in scene.again:
            stage.run(one)
        reference.new = self.snapshots()
        reference.again_codes = tuple(stage.run(one).code for one in reference.finishing)
        reference.end = self.end(scene, reference)
        return reference

    def points(self, name: str, error: int = 0) -> int:
        """At how many points a scene can be broken (by this error)."""
        reference = self.reference(name)
        if error == errno.ENOSPC:
            return self.broken(name, reference, Point(FAULT, error=error))[1]
        return reference.points

    def broken(self, name: str, reference: Reference, point: Point) -> tuple[Ran, int]:
        """Runs a scene's command from its beginning: how it ended, how many points it passed."""
        self.stage.restore(name)
        control = Control(self.stage.folder / "control", self.stage.here, point)
        try:
            ran = self.stage.run(reference.command, control)
            self.fired, self.what = control.fired, control.what
            return ran, control.counted
        finally:
            control.close()

    # -- trying ------------------------------------------------------------------------------------

    def try_point(self, name: str, point: Point) -> list[str]:
        """What is wrong after breaking a scene there; nothing, if all is well."""
        scene, reference = BY_NAME[name], self.reference(name)
        ran, _ = self.broken(name, reference, point)
        wrong: list[str] = []
        if point.mode == FAULT and self.fired:
            wrong += _wrong_words(ran)
        elif not self.fired and ran.code != reference.code:
            wrong.append(f"nothing was broken, and it ended with {ran.code}: {ran.err}")
        elif point.mode == KILL and self.fired and not ran.killed:
            wrong.append(f"killed, and it ended with {ran.code}: {ran.err}")
        return wrong + list(self.aftermath(scene, reference))

    def aftermath(self, scene: Scene, reference: Reference) -> Iterator[str]:
        """What is wrong now, and what is wrong after the commands that finish it."""
        now = self.snapshots()
        yield from self._looked("then", scene, reference, now)
        yield from self._read_only(reference)
        for number, command in enumerate(reference.finishing):
            ran = self.stage.run(command)
            if ran.code not in (0, reference.again_codes[number]):
                yield f"afterwards {command.words[0]} ends with {ran.code}: {ran.err.strip()}"
        yield from self._looked("in the end", scene, reference, self.snapshots())
        end = self.end(scene, reference)
        for what, expected in reference.end.items():
            if end[what] != expected and what not in scene.may_differ:
                yield f"in the end {what} is {_differing(expected, end[what])}"

    def after_power(self, scene: Scene, reference: Reference, ended: bool) -> Iterator[str]:
        """What is wrong when the power has failed: with what was there before, and with what the
        command said was done (`ended`)."""
        found = self._examined(reference, scene.damaged)
        if isinstance(found, str):
            yield found
            return
        yield from found["wrong"]
        now = self.snapshots()
        for name, old in reference.old.items():
            for wrong in invariants.lost(old, now.values(), found["nowhere"]):
                yield f"{name}: {wrong}"
        if ended:
            held = reference.end["what caches hold"]
            for cache, oids in held.items():
                gone = set(oids) - set(found["held"].get(cache, ()))
                yield from (f"the command had ended, and {oid} is not in the cache" for oid in gone)
            for name, new in reference.new.items():
                for path, what in new.items() if not scene.may_differ else ():
                    if invariants.managed(path) and now.get(name, {}).get(path) != what:
                        yield f"the command had ended, and {name}/{path} is not as it made it"
        yield from self._read_only(reference)

    def _looked(
        self, when: str, scene: Scene, reference: Reference, now: dict[str, Snapshot]
    ) -> Iterator[str]:
        found = self._examined(reference, scene.damaged and when == "then")
        if isinstance(found, str):
            yield f"{when}: {found}"
            return
        for wrong in found["wrong"]:
            yield f"{when}: {wrong}"
        for name, old in reference.old.items():
            new = reference.new.get(name, {})
            for wrong in invariants.wrong_in_workspace(old, new, now.get(name, {})):
                if when == "in the end" or scene.scratch not in wrong:
                    yield f"{when}: {name}: {wrong}"
            for wrong in invariants.lost(old, now.values(), found["nowhere"]):
                yield f"{when}: {name}: {wrong}"

    def _examined(self, reference: Reference, damaged: bool) -> dict[str, Any] | str:
        stage = self.stage
        old = {
            f"{name}/{path}": what
            for name, one in reference.old.items()
            for path, what in one.items()
            if path not in reference.in_git.get(name, ())
        }
        ran = stage.fork(lambda: invariants.examine(stage.here, reference.known, old, damaged))
        if ran.code:
            return f"cannot be examined: {ran.err[-2000:]}"
        found: dict[str, Any] = json.loads(ran.out)
        return found

    def _read_only(self, reference: Reference) -> Iterator[str]:
        """`status` works at once."""
        folder = reference.command.folder
        if (self.stage.here / folder / ".dvlite" / "config.toml").exists():
            ran = self.stage.run(Command(("status",), folder))
            if ran.code:
                yield f"status ends with {ran.code}: {ran.err.strip()}"

    # -- looking -----------------------------------------------------------------------------------

    def snapshots(self) -> dict[str, Snapshot]:
        """The workspaces."""
        return {
            name: self.stage.workspace(name)
            for name in _FOLDERS
            if (self.stage.here / name).is_dir()
        }

    def end(self, scene: Scene, reference: Reference) -> dict[str, Any]:
        """All that has to be the same in the end, however often it was broken."""
        folder, stage = reference.command.folder, self.stage
        found = self._examined(reference, False)
        status = json.loads(stage.run(Command(("status", "--json"), folder)).out or "{}")
        # as of the last contact: a command that found all it needs here did not ask again
        status.pop("remote", None)
        return {
            "workspace": self.snapshots(),
            "git's index": stage.git("ls-files", "--stage", folder=folder).splitlines(),
            "git status": stage.git("status", "--porcelain", folder=folder).splitlines(),
            "status": json.dumps(status, indent=1).splitlines(),
            "settings": invariants.settings(stage.here),
            "what caches hold": found if isinstance(found, str) else found["held"],
        }

    def _forked(self, action: Any) -> str:
        ran = self.stage.fork(action)
        assert ran.code == 0, ran.err
        return ran.out


def _print_committed(stage: Stage) -> None:
    print(json.dumps(invariants.committed(stage.here)))


def _filled(command: Command, names: dict[str, str]) -> Command:
    words = tuple(word.format(**names) if "{" in word else word for word in command.words)
    return Command(words, command.folder, command.stdin.format(**names))


def _wrong_words(ran: Ran) -> Iterator[str]:
    """A fault has to be told well: a code of its class, what is wrong, no traceback."""
    # where git does not say why it failed, neither can we
    if ran.code not in FAULT_CODES and not (ran.code == 3 and ran.err.startswith("error: git ")):
        yield f"ended with {ran.code}: {ran.err.strip()}"
    if "Traceback" in ran.err or "a bug in dvlite" in ran.err:
        yield f"a traceback: {ran.err.strip()}"
    if ran.code and not re.search("^error: ", ran.err, re.MULTILINE):
        yield f"ended with {ran.code} and no error: {ran.err.strip()}"


def _differing(expected: Any, got: Any) -> str:
    if isinstance(expected, dict) and isinstance(got, dict):
        keys = sorted(key for key in {*expected, *got} if expected.get(key) != got.get(key))
        return "; ".join(f"{key}: {_differing(expected.get(key), got.get(key))}" for key in keys)
    if isinstance(expected, list) and isinstance(got, list):
        without, extra = (
            [x for x in a if x not in b] for a, b in ((expected, got), (got, expected))
        )
        return f"without {without}, with {extra}"
    return f"{str(got)[:80]!r}, not {str(expected)[:80]!r}"
