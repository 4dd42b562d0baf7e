"""The starting states, and the command that is broken in each.

Owns what a command is about, and what finishes it when it was broken off: the same command,
unless said otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.torture.stage import Command, Stage


@dataclass(frozen=True, slots=True)
class Scene:
    """One command in one state. `base`: the state that `prepare` starts from.

    `again` is what a user does next. A revision in braces in the command stands for its hash.
    `may_differ`: what need not be as in an undisturbed run. `scratch`: what names of unfinished
    things contain, which are beside the user's files until the command is run again. `damaged`:
    caches and remotes are, in the beginning.
    """

    name: str
    command: Command
    prepare: Callable[[Stage], None]
    again: tuple[Command, ...] = ()
    base: str = "base"
    may_differ: frozenset[str] = frozenset()
    scratch: str = "(no such)"
    damaged: bool = False

    @property
    def finishing(self) -> tuple[Command, ...]:
        return self.again or (self.command,)

    @property
    def verb(self) -> str:
        return self.command.words[0]


def _bytes(name: str, size: int) -> bytes:
    return random.Random(name).randbytes(size)


def write(folder: Path, files: dict[str, bytes | None]) -> None:
    """Writes files; None deletes one. New names, so that linked objects stay as they are."""
    for name, data in files.items():
        path = folder / name
        path.unlink(missing_ok=True)
        if data is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


FIRST: dict[str, bytes | None] = {
    **{f"data/part{n % 3}/f{n:02d}": _bytes(f"f{n}", 50 + 37 * n) for n in range(66)},
    **{f"few/{name}": _bytes(name, 900) for name in "abc"},
    "model.bin": _bytes("model", 300_000),
    "note.txt": b"a note\n",
}
SECOND: dict[str, bytes | None] = {
    "data/part0/f00": b"changed", "data/part1/f01": b"changed too", "data/part2/f02": None,
    "data/new/one": b"one", "data/new/two": b"two", "few/a": b"another a",
    "model.bin": _bytes("model", 300_000)[:200_000] + b"!" * 1000 + _bytes("m2", 60_000),
}  # fmt: skip
EDITS: dict[str, bytes | None] = {
    "data/part0/f03": b"an edit", "data/part1/f04": None, "data/new/three": b"three",
    "model.bin": _bytes("edited", 280_000), "few/b": b"an edited b",
}  # fmt: skip
TRACKED = ("data", "few", "model.bin", "note.txt")


def make_base(stage: Stage) -> None:
    """Two commits, tagged and pushed, git's and data's remotes, and a clone without data."""
    work = stage.here / "work"
    work.mkdir()
    stage.git("init", "--quiet")
    stage.git("init", "--quiet", "--bare", "../origin.git")
    stage.git("remote", "add", "origin", "../origin.git")
    write(work, {"code.py": b"print('hello')\n"})
    stage.dvlite("init")
    stage.dvlite("remote", "add", "store", str(stage.here / "store"), "--default")
    for tag, files in (("v1", FIRST), ("v2", SECOND)):
        write(work, files)
        stage.dvlite("add", *TRACKED)
        commit(stage, tag)
        stage.git("tag", tag)
    stage.dvlite("push", "--all-commits")
    stage.git("push", "--quiet", "--tags", "origin", "main")


def commit(stage: Stage, message: str) -> None:
    stage.git("add", "--all", ".")
    stage.git("commit", "--quiet", "-m", message)


def _nothing(stage: Stage) -> None:
    pass


def _write(files: dict[str, bytes | None]) -> Callable[[Stage], None]:
    return lambda stage: write(stage.here / "work", files)


def _checkout(revision: str) -> Callable[[Stage], None]:
    return lambda stage: void(stage.git("checkout", "--quiet", revision))


def void(_: object) -> None:
    """Nothing of what a call gave."""


def _unpushed(stage: Stage) -> None:
    write(stage.here / "work", EDITS)
    stage.dvlite("add", *TRACKED)
    commit(stage, "v3")


def _no_store(stage: Stage) -> None:
    shutil.rmtree(stage.here / "store")


def _clone(stage: Stage) -> None:
    stage.git("clone", "--quiet", "../origin.git", "../clone")


def _old_clone(stage: Stage) -> None:
    """A clone that has v1's data, and v2's pointers."""
    _clone(stage)
    stage.git("checkout", "--quiet", "v1", folder="clone")
    stage.dvlite("pull", folder="clone")
    stage.git("checkout", "--quiet", "main", folder="clone")


def _conflict(stage: Stage) -> None:
    """Both sides changed the same, and other things too."""
    stage.git("checkout", "--quiet", "-b", "other")
    write(stage.here / "work", EDITS)
    stage.dvlite("add", *TRACKED)
    commit(stage, "other")
    stage.git("checkout", "--quiet", "main")
    stage.dvlite("checkout")
    ours: dict[str, bytes | None] = {"data/part0/f03": b"ours", "data/part0/f06": b"ours too"}
    write(stage.here / "work", {**ours, "model.bin": _bytes("ours", 250_000)})
    stage.dvlite("add", *TRACKED)
    commit(stage, "ours")
    stage.run(Command(("git", "merge", "--quiet", "other")))


def _dvc(stage: Stage) -> None:
    """What DVC leaves for one file and one folder."""
    write(stage.here / "work", {".dvc/config": b"", ".dvc/.gitignore": b"/cache\n/tmp\n"})
    cache = stage.here / "work" / ".dvc" / "cache" / "files" / "md5"

    def put(data: bytes, suffix: str = "") -> str:
        digest = hashlib.md5(data).hexdigest() + suffix
        write(cache, {f"{digest[:2]}/{digest[2:]}": data})
        return digest

    listing = []
    for number in range(5):
        data = _bytes(f"dvc{number}", 500)
        write(stage.here / "work", {f"old/x{number}": data})
        listing.append({"md5": put(data), "relpath": f"x{number}"})
    folder = put(json.dumps(listing).encode(), ".dir")
    weights = _bytes("weights", 200_000)
    write(stage.here / "work", {"weights.bin": weights})
    for name, digest in (("old", folder), ("weights.bin", put(weights))):
        text = f"outs:\n- md5: {digest}\n  hash: md5\n  path: {name}\n"
        write(stage.here / "work", {f"{name}.dvc": text.encode()})
    write(stage.here / "work", {".gitignore": _ignored(stage) + b"/old\n/weights.bin\n"})
    commit(stage, "dvc")


def _ignored(stage: Stage) -> bytes:
    return (stage.here / "work" / ".gitignore").read_bytes()


def _lfs(stage: Stage) -> None:
    """What git-lfs leaves for two files: pointers in git, content in its store."""
    for name, size in (("a.psd", 700), ("b.psd", 150_000)):
        data = _bytes(name, size)
        digest = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
        write(stage.here / "work", {name: pointer.encode()})
        store = stage.here / "work" / ".git" / "lfs" / "objects"
        write(store, {f"{digest[:2]}/{digest[2:4]}/{digest}": data})
    attributes = stage.here / "work" / ".gitattributes"
    before = attributes.read_text() if attributes.exists() else ""
    line = "*.psd filter=lfs diff=lfs merge=lfs -text\n"
    write(stage.here / "work", {".gitattributes": (before + line).encode()})
    commit(stage, "lfs")


def _damaged(stage: Stage) -> None:
    """A pack and the index of the remote are damaged; this machine has what was in them."""
    packs = sorted((stage.here / "store" / "packs").rglob("*"), key=str)
    pack = next(path for path in packs if path.is_file())
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    write(pack.parent, {pack.name: bytes(data)})
    segment = min(path for path in (stage.here / "store" / "index").iterdir())
    write(segment.parent, {segment.name: segment.read_bytes()[:-1]})


def _damaged_cache(stage: Stage) -> None:
    """An object and a pack of the cache are damaged; the remote has what was in them."""
    cache = stage.here / "work" / ".git" / "dvlite" / "cache"
    objects = sorted(path for path in (cache / "objects").rglob("*") if path.is_file())
    for path in (objects[0], min((cache / "packs").glob("*.pack"))):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        write(path.parent, {path.name: bytes(data)})


def _hooks(stage: Stage) -> None:
    stage.dvlite("install")


def _pre_push(stage: Stage) -> None:
    _unpushed(stage)
    _hooks(stage)


def _old(stage: Stage) -> None:
    """A commit that is on no remote, and a cache that nothing of is young any more."""
    _unpushed(stage)
    long_ago = time.time() - 100 * 24 * 3600
    for path in (stage.here / "work" / ".git" / "dvlite" / "cache").rglob("*"):
        os.utime(path, (long_ago, long_ago))


def _linked(stage: Stage) -> None:
    """The cache is outside of git's folder, and large workspace files are links into it."""
    stage.dvlite("config", "--local", "cache.link", "symlink,copy")
    stage.dvlite("cache", "move", "../first")
    stage.dvlite("checkout", "--relink")


def _another_cache(stage: Stage) -> None:
    """Another project's cache is where ours is to go; it has some of the same objects."""
    _linked(stage)
    _clone(stage)
    stage.dvlite("pull", folder="clone")
    stage.dvlite("cache", "move", "../moved", folder="clone")


PUSHED = "refs/heads/main {main} refs/heads/main {v2}\n"
_AFTER_CHECKOUT = (Command(("checkout",)),)
SCENES = (
    Scene(
        "init",
        Command(("init",), "fresh"),
        lambda stage: void(stage.git("init", "--quiet", "../fresh")),
        # a project's id is drawn
        may_differ=frozenset(["workspace", "git's index"]),
    ),
    Scene(
        "add-new",
        Command(("add", "new.txt", "fresh")),
        _write({"new.txt": b"new", "fresh/a": b"a", "fresh/b/c": b"c", "fresh/b/d": b"d"}),
    ),
    Scene(
        "add-packs",
        Command(("add", "many")),
        _write({f"many/{n % 4}/{n}": _bytes(f"many{n}", 300) for n in range(70)}),
    ),
    Scene("add-changed", Command(("add", *TRACKED)), _write(EDITS)),
    Scene(
        "add-large",
        Command(("add", "big.bin", "set")),
        _write({"big.bin": _bytes("big", 5_000_001), "set/l": _bytes("l", 140_000)}),
    ),
    Scene(
        "add-larges",
        Command(("add", "set")),
        _write({f"set/{n}": _bytes(f"set{n}", 131_072 + n) for n in range(20)}),
    ),
    Scene("push-first", Command(("push", "--all-commits")), _no_store),
    Scene("push-more", Command(("push",)), _unpushed),
    Scene("fetch", Command(("fetch",), "clone"), _clone),
    Scene("pull", Command(("pull",), "clone"), _clone),
    Scene("pull-update", Command(("pull",), "clone"), _old_clone),
    Scene("checkout-switch", Command(("checkout",)), _checkout("v1")),
    Scene("checkout-force", Command(("checkout", "--force")), _write(EDITS)),
    Scene("checkout-rev", Command(("checkout", "--rev", "v1", "data", "model.bin")), _nothing),
    Scene("mv-file", Command(("mv", "model.bin", "weights.bin")), _nothing),
    Scene("mv-folder", Command(("mv", "few", "some")), _nothing),
    Scene("rm", Command(("rm", "few")), _nothing),
    Scene("rm-delete", Command(("rm", "--delete", "data")), _nothing),
    Scene("resolve-theirs", Command(("resolve", "--theirs", ".")), _conflict),
    Scene("get", Command(("get", "v1:data", "-o", "out")), _nothing, scratch=".dvlite-get-"),
    Scene(
        "get-file",
        Command(("get", "v1:model.bin", "-o", "old.bin"), "clone"),
        _clone,
        scratch=".dvlite-get-",
    ),
    Scene(
        "hook-post-checkout",
        Command(("hook", "post-checkout", "--", "{v2}", "{v1}", "1")),
        _checkout("v1"),
        _AFTER_CHECKOUT,
    ),
    Scene(
        "hook-pre-push",
        Command(("hook", "pre-push", "--", "origin", "../origin.git"), stdin=PUSHED),
        _pre_push,
    ),
    Scene(
        "install",
        Command(("install",)),
        _nothing,
        # again it stages nothing: the user's own changes may be in .gitattributes by now
        may_differ=frozenset(["git's index", "git status"]),
    ),
    Scene("config", Command(("config", "core.jobs", "3")), _nothing),
    Scene("remote-add", Command(("remote", "add", "two", "/nowhere/store")), _nothing),
    Scene("import-dvc", Command(("import-dvc",)), _dvc),
    Scene("import-lfs", Command(("import-lfs",)), _lfs),
    Scene("remote-copy", Command(("remote", "copy", "store", "../copied")), _nothing),
    Scene(
        "remote-repair",
        Command(("remote", "check", "--full", "--repair")),
        _damaged,
        damaged=True,
    ),
    Scene(
        "fsck-repair",
        Command(("fsck", "--repair")),
        _damaged_cache,
        # what was set aside already is on the remote, so the second repair need not fetch it
        may_differ=frozenset(["what caches hold"]),
        damaged=True,
    ),
    Scene("cache-move", Command(("cache", "move", "../moved")), _unpushed),
    Scene("cache-move-links", Command(("cache", "move", "../moved")), _linked),
    Scene("cache-move-merge", Command(("cache", "move", "../moved")), _another_cache),
    Scene("cache-share", Command(("cache", "share")), _linked),
    Scene("gc", Command(("gc", "--workspaces-only", "--yes")), _old),
    Scene("reproduce", Command(("reproduce", "v1", "--output", "../again")), _nothing),
)


def _unsynced(stage: Stage) -> None:
    """With the setting off that makes data durable: the power test has to see the difference."""
    stage.dvlite("config", "--local", "core.fsync", "false")
    SYNCED.prepare(stage)


SYNCED = next(scene for scene in SCENES if scene.name == "add-packs")
UNSYNCED = Scene("add-packs-unsynced", SYNCED.command, _unsynced)
BY_NAME = {scene.name: scene for scene in (*SCENES, UNSYNCED)}
