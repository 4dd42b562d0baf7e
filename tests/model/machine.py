"""The real push and gc, a step at a time in any order, over a storage whose clock is ours.

Owns the storage, the gate at which each process waits before it lists or changes anything, and the
world around: which pointers are published, and time. What is checked is the model's invariant, with
the real reader.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dvlite.errors import DvliteError, RemoteError
from dvlite.storage.backend import Backend, NotThere, Stored
from dvlite.storage.cache import Cache
from dvlite.storage.fetch import Wanted, fetch
from dvlite.storage.push import PushOptions, Root, push
from dvlite.storage.remote import open_remote
from dvlite.storage.remotegc import GcOptions, execute, look, plan_gc
from tests.remote.conftest import add_tree, contents

GRACE_S = 10.0
# Less than the grace period, so that things of different ages meet.
TICK_S = 6.0
_STUCK_S = 60.0


class Dead(Exception):
    """The process was killed."""


class Lost(Exception):
    """A published root cannot be read."""


class Store(Backend):
    """Files in memory."""

    url = "test://store"

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, float]] = {}
        self.now_s = 1000.0
        self.changes = 0

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        try:
            data, _ = self.files[name]
        except KeyError:
            raise NotThere(name) from None
        begin = max(0, len(data) + offset) if offset < 0 else offset
        return data[begin : None if length is None else begin + length]

    def write(self, name: str, data: bytes | memoryview) -> None:
        self.files[name] = bytes(data), self.now_s
        self.changes += 1

    def write_if_absent(self, name: str, data: bytes) -> bool:
        if name in self.files:
            return False
        self.write(name, data)
        return True

    def list(self, folder: str) -> list[Stored]:
        start = f"{folder}/" if folder else ""
        found = sorted(self.files.items())
        return [Stored(n, len(data), at) for n, (data, at) in found if n.startswith(start)]

    def delete(self, name: str) -> None:
        self.files.pop(name, None)
        self.changes += 1


class Process(Backend):
    """A push or a gc in a thread of its own; its storage waits until it may go on."""

    def __init__(self, store: Store, label: str, work: Callable[[Process], None]) -> None:
        self.store, self.label, self.url = store, label, store.url
        self.changed = threading.Condition()
        self.waiting = self.permits = self.active = 0
        self.dead = self.done = False
        self.looked_s: float | None = None
        self.words = ""
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self.thread.start()

    def _run(self, work: Callable[[Process], None]) -> None:
        try:
            work(self)
        except Dead:
            pass
        except BaseException as error:
            self.error = error
        with self.changed:
            self.done = True
            self.changed.notify_all()

    # -- the gate ------------------------------------------------------------------------------

    def pause(self, words: str) -> None:
        """Waits for the scheduler."""
        with self.changed:
            self.waiting += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.permits or self.dead)
            self.waiting -= 1
            if self.dead:
                raise Dead
            self.permits -= 1
            self.active += 1
            self.words = words

    def resume(self) -> None:
        """What was waited for is done."""
        with self.changed:
            self.active -= 1
            self.changed.notify_all()

    def settle(self) -> None:
        """Waits until it can go no further by itself."""
        with self.changed:
            settled = self.changed.wait_for(
                lambda: self.done or (self.waiting and not self.active and not self.permits),
                _STUCK_S,
            )
        assert settled, f"{self.label} is stuck after: {self.words}"
        if self.error is not None:
            raise self.error

    def step(self) -> str:
        """One step, and what it was."""
        with self.changed:
            self.permits += 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.done or not self.permits, _STUCK_S)
        self.settle()
        return f"{self.label}: {self.words}"

    def kill(self) -> None:
        """It does nothing more."""
        with self.changed:
            self.dead = True
            self.changed.notify_all()
        self.thread.join(_STUCK_S)
        assert not self.thread.is_alive()

    # -- the storage ---------------------------------------------------------------------------

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.store.read(name, offset, length)

    def list(self, folder: str) -> list[Stored]:
        if folder != "index":
            return self.store.list(folder)
        self.pause("lists the index")
        try:
            self.looked_s = self.store.now_s
            return self.store.list(folder)
        finally:
            self.resume()

    def write(self, name: str, data: bytes | memoryview) -> None:
        self.pause(f"writes {name[:40]}")
        try:
            self.store.write(name, data)
        finally:
            self.resume()

    def write_if_absent(self, name: str, data: bytes) -> bool:
        if name.startswith("tmp/"):  # gc's probe is no step
            return self.store.write_if_absent(name, data)
        self.pause(f"creates {name}")
        try:
            return self.store.write_if_absent(name, data)
        finally:
            self.resume()

    def delete(self, name: str) -> None:
        if name.startswith("tmp/"):
            return self.store.delete(name)
        self.pause(f"deletes {name[:40]}")
        try:
            self.store.delete(name)
        finally:
            self.resume()


@dataclass(slots=True)
class World:
    """The store, the trees that pointers can name, those that are published, and the processes."""

    folder: Path
    random: random.Random
    store: Store = field(default_factory=Store)
    trees: list[Root] = field(default_factory=list)
    published: set[bytes] = field(default_factory=set)
    running: list[Process] = field(default_factory=list)
    waiting: dict[str, float] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    deleted: int = 0
    checked: tuple[int, int] = (0, 0)
    started: int = 0
    cache: Cache = field(init=False)

    def __post_init__(self) -> None:
        open_remote("r", self.store, create=True)
        self.cache = Cache(str(self.folder / "cache"))
        one, two = (random.Random(seed).randbytes(40_000) for seed in (1, 2))
        self.trees = [
            add_tree(self.cache, {"one": one, "two": two}),
            add_tree(self.cache, {"two": two}),
        ]

    # -- processes -----------------------------------------------------------------------------

    def start_push(self) -> None:
        """Somebody pushes a tree, and publishes its pointer."""
        root = self.random.choice(self.trees)
        label = self.label(f"push of {root.files} files")

        def work(process: Process) -> None:
            with suppress(RemoteError):  # gc after gc
                options = PushOptions(jobs=1, record=False)
                push(open_remote("r", process), self.cache, [root], options)
                assert process.looked_s is not None
                self.waiting[label] = process.looked_s
                process.pause("publishes")
                self.published.add(root.oid)
                del self.waiting[label]
                process.resume()

        self.add(Process(self.store, label, work))

    def start_gc(self) -> None:
        """Somebody collects."""

        def work(process: Process) -> None:
            remote, options = open_remote("r", process), GcOptions(GRACE_S, jobs=1)
            with suppress(DvliteError):  # another one was quicker, or took what this one reads
                looked = look(remote, self.cache.folder, options)
                process.pause("asks what is needed")
                needed = set(self.published)
                process.resume()
                plan = plan_gc(looked, needed, options)
                execute(looked, plan, options)
                self.deleted += len(plan.deleted)

        self.add(Process(self.store, self.label("gc"), work))

    def label(self, what: str) -> str:
        """A name of its own."""
        self.started += 1
        return f"{self.started}, a {what}"

    def add(self, process: Process) -> None:
        """A process that has begun."""
        process.settle()
        self.running.append(process)

    # -- steps ---------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """So many steps, each checked.

        Raises:
            Lost: with all steps.
        """
        try:
            for _ in range(steps):
                self.step()
                self.check()
        finally:
            for process in self.running:
                process.kill()

    def step(self) -> None:
        """Anything that can happen."""
        chance = self.random.random()
        if len(self.running) < 2 or (chance < 0.05 and len(self.running) < 4):
            (self.start_push if self.random.random() < 0.55 else self.start_gc)()
        elif chance < 0.2:
            self.tick()
        elif chance < 0.27 and self.published:
            self.published.discard(self.random.choice(sorted(self.published)))
            self.trace.append("git: a pointer is gone")
        elif chance < 0.29:
            self.kill(self.random.choice(self.running))
        else:
            self.go_on(self.random.choice(self.running))

    def go_on(self, process: Process) -> None:
        """Some steps of one process."""
        while not process.done:
            self.trace.append(process.step())
            self.check()
            if self.random.random() < 0.3:
                break
        if process.done:
            self.running.remove(process)

    def tick(self) -> None:
        """Time passes, but for pushers that have to publish first."""
        then = self.store.now_s + TICK_S
        if all(then - since < GRACE_S for since in self.waiting.values()):
            self.store.now_s = then
            self.trace.append("clock")

    def kill(self, process: Process) -> None:
        """A machine stops."""
        process.kill()
        self.waiting.pop(process.label, None)
        self.running.remove(process)
        self.trace.append(f"{process.label} dies")

    def check(self) -> None:
        """Every published root is read, into an empty cache.

        Raises:
            Lost: with all steps.
        """
        roots = [root for root in self.trees if root.oid in self.published]
        state = self.store.changes, len(roots)
        if not roots or state == self.checked:
            return
        self.checked = state
        folder = tempfile.mkdtemp(dir=self.folder)
        fresh = Cache(folder)
        wanted = [Wanted(one.kind, one.oid, one.size, one.files, one.label) for one in roots]
        report = fetch([open_remote("r", self.store)], fresh, wanted, jobs=1)
        if report.absent or report.damaged:
            raise Lost("\n".join(self.trace))
        for root in roots:
            assert contents(fresh, root) == contents(self.cache, root)
        shutil.rmtree(folder)
