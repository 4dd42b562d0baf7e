"""Trying many points of many scenes at once, and telling what was found."""

from __future__ import annotations

import errno
import itertools
import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.shim import FAULT, KILL, build

# As many trials as take about as long as preparing their scene takes.
_LOT = 8
ROOT = Path(__file__).resolve().parents[2]
MODES = {
    "kill": (KILL, 0),
    "enospc": (FAULT, errno.ENOSPC),
    "eio": (FAULT, errno.EIO),
}


@dataclass(frozen=True, slots=True)
class Order:
    """One thing for a worker to try. `always`: from the point on, every call fails."""

    scene: str
    mode: str
    number: int
    always: bool = False
    seed: int = 0

    @property
    def words(self) -> str:
        """What tries just this again."""
        if self.mode == "power":
            commands = f"--commands {self.scene} --sample {self.number} --seed {self.seed}"
            return f"scripts/torture --mode power {commands}"
        name = f"--mode {self.mode} --commands {self.scene} --points {self.number}"
        return "scripts/torture " + name + (" --always" if self.always else "")

    def message(self) -> dict[str, Any]:
        if self.mode == "power":
            return {"do": "power", "scene": self.scene, "seed": self.seed, "sample": self.number}
        mode, error = MODES[self.mode]
        return {
            "do": "try", "scene": self.scene, "mode": mode, "number": self.number, "error": error,
            "always": self.always,
        }  # fmt: skip


@dataclass(slots=True)
class Found:
    """What was tried, and what went wrong, by mode and scene."""

    tried: dict[tuple[str, str], int] = field(default_factory=dict)
    failed: dict[tuple[str, str], int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, order: Order, answer: dict[str, Any]) -> None:
        key = (order.mode, order.scene)
        self.tried[key] = self.tried.get(key, 0) + answer.get("tried", 1)
        if answer["wrong"]:
            self.failed[key] = self.failed.get(key, 0) + 1
            lines = [f"FAILED {order.words}", f"  at: {answer['what']}"]
            self.failures.append("\n".join(lines + [f"  {one}" for one in answer["wrong"][:8]]))


class Worker:
    """One process that obeys orders."""

    def __init__(self, folder: Path, shim: Path) -> None:
        environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.torture.worker", str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def obey(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended amid {message}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Campaign:
    """Workers, and the orders that they take one by one."""

    def __init__(self, folder: Path, workers: int) -> None:
        shim = build(folder)
        self._workers = [Worker(folder / f"w{number}", shim) for number in range(workers)]

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *rest: object) -> None:
        for worker in self._workers:
            worker.end()

    def each(self, items: Iterable[Any], do: Callable[[Worker, Any], None]) -> None:
        """Calls `do` for every item, in as many threads as there are workers."""
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for item in items:
            waiting.put(item)
        problems: list[BaseException] = []

        def serve(worker: Worker) -> None:
            while not problems:
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    do(worker, item)
                except BaseException as error:
                    problems.append(error)

        threads = [threading.Thread(target=serve, args=(one,)) for one in self._workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]

    def points(self, scenes: Iterable[str], mode: str) -> dict[str, int]:
        """At how many points each scene can be broken."""
        found: dict[str, int] = {}
        error = MODES[mode][1]

        def ask(worker: Worker, scene: str) -> None:
            answer = worker.obey({"do": "points", "scene": scene, "error": error})
            if "wrong" in answer:
                raise RuntimeError(f"{scene} cannot be prepared: {answer['wrong'][0]}")
            found[scene] = answer["points"]

        self.each(scenes, ask)
        return found

    def run(self, orders: list[Order], tell: Callable[[str], None]) -> Found:
        """Tries all; `tell` gets failures as they come, and how far it is."""
        found, lock = Found(), threading.Lock()
        begin = told = time.monotonic()
        done = itertools.count(1)

        def attempt(worker: Worker, group: list[Order]) -> None:
            for order in group:
                answer = worker.obey(order.message())
                note(order, answer)

        def note(order: Order, answer: dict[str, Any]) -> None:
            nonlocal told
            with lock:
                before = len(found.failures)
                found.add(order, answer)
                for text in found.failures[before:]:
                    tell(text)
                number, now = next(done), time.monotonic()
                if now - told > 10:
                    told = now
                    tell(f"{number} of {len(orders)}, {now - begin:.0f} s")

        self.each(groups(orders), attempt)
        return found


def groups(orders: list[Order]) -> list[list[Order]]:
    """Orders of one scene together, in lots: a worker prepares each scene that it meets."""
    by_scene: dict[str, list[Order]] = {}
    for order in orders:
        by_scene.setdefault(order.scene, []).append(order)
    return [
        scene[begin : begin + _LOT]
        for scene in by_scene.values()
        for begin in range(0, len(scene), _LOT)
    ]


def choose(
    points: dict[str, int], mode: str, sample: int | None, seed: int, always: bool = False
) -> list[Order]:
    """All points, or a random sample of them spread over all scenes."""
    orders = [
        Order(scene, mode, number, always)
        for scene, count in sorted(points.items())
        for number in range(count)
    ]
    source = random.Random(f"{seed} {mode} {always}")
    if sample is None or sample >= len(orders):
        source.shuffle(orders)
        return orders
    scenes = sorted(scene for scene, count in points.items() if count)
    chosen = [source.choice([o for o in orders if o.scene == scene]) for scene in scenes]
    rest = [order for order in orders if order not in set(chosen)]
    return (chosen + source.sample(rest, max(0, sample - len(chosen))))[:sample]


def table(found: Found) -> str:
    """A line a scene: how many points were tried, and how many failed."""
    modes = sorted({mode for mode, _ in found.tried})
    lines = [f"{'command':20}" + "".join(f"{mode:>16}" for mode in modes)]
    scenes = sorted({scene for _, scene in found.tried})
    for scene in [*scenes, ""]:
        cells = []
        for mode in modes:
            keys = [(mode, one) for one in ([scene] if scene else scenes)]
            tried = sum(found.tried.get(key, 0) for key in keys)
            failed = sum(found.failed.get(key, 0) for key in keys)
            cells.append(f"{tried} ({failed} failed)" if failed else str(tried))
        lines.append(f"{scene or 'all':20}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)
