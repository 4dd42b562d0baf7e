"""Data comes back from a remote without dvlite: docs/formats.md is complete."""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from dvlite.storage import pushlarge, tree
from dvlite.storage.backend import open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter, publish_object
from dvlite.storage.chunker import SMALL_BYTES
from dvlite.storage.oid import hash_bytes, to_text
from dvlite.storage.push import Root, push
from dvlite.storage.remote import Remote, open_remote
from dvlite.storage.row import RowKind
from dvlite.storage.tree import Entry, Kind, store_folder

SCRIPT = Path(__file__).with_name("restore_without_dvlite.py")
MAX_LINES = 150
# What a folder holds: bytes, ("exec", bytes), ("link", target) or another folder.
Content = bytes | tuple[str, bytes] | dict[str, "Content"]


def add_folder(cache: Cache, content: dict[str, Content]) -> Root:
    """Puts a folder into the cache as `dvlite add` would."""
    with CacheWriter(cache) as writer:
        entry = _add(cache, writer, content)
    return Root("tree", entry.oid, entry.size, entry.files, "data")


def _add(cache: Cache, writer: CacheWriter, content: dict[str, Content]) -> Entry:
    entries = []
    for name, item in content.items():
        if isinstance(item, dict):
            entries.append(_add(cache, writer, item)._replace(name=os.fsencode(name)))
            continue
        kind, data = (Kind.FILE, item) if isinstance(item, bytes) else (_KINDS[item[0]], item[1])
        oid = hash_bytes(data)
        if len(data) >= SMALL_BYTES:
            publish_object(cache, oid, data)
        else:
            writer.add(oid, data)
        entries.append(Entry(os.fsencode(name), kind, oid, len(data)))
    return store_folder(entries, lambda oid, data: writer.add(oid, data, RowKind.TREE))


_KINDS = {"exec": Kind.EXEC, "link": Kind.LINK}


def read_folder(folder: Path) -> dict[str, Content]:
    """What a folder on disk holds, in the same form."""
    content: dict[str, Content] = {}
    for path in folder.iterdir():
        if path.is_symlink():
            content[path.name] = ("link", os.fsencode(os.readlink(path)))
        elif path.is_dir():
            content[path.name] = read_folder(path)
        elif path.stat().st_mode & stat.S_IXUSR:
            content[path.name] = ("exec", path.read_bytes())
        else:
            content[path.name] = path.read_bytes()
    return content


def restore(remote: Remote, root: Root, target: Path) -> subprocess.CompletedProcess[str]:
    folder = remote.backend.url.removeprefix("file://")
    command = [sys.executable, str(SCRIPT), folder, to_text(root.oid), root.kind, str(target)]
    return subprocess.run(command, capture_output=True, text=True, cwd=target.parent, timeout=120)


def assert_restores(remote: Remote, root: Root, target: Path, content: dict[str, Content]) -> None:
    done = restore(remote, root, target)
    assert done.returncode == 0, done.stderr
    assert read_folder(target) == content


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"), durable=False)


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return open_remote("r", open_backend(str(tmp_path / "remote")), create=True)


def everything(seed: int) -> dict[str, Content]:
    source = random.Random(seed)
    return {
        "empty folder": {},
        "empty file": b"",
        "run.sh": ("exec", b"#!/bin/sh\n"),
        "link": ("link", b"sub/deep/f3"),
        "dangling": ("link", b"not-there"),
        "name of bytes \udcff": b"not UTF-8",
        "text": b"the same line again and again\n" * 900,
        "large": source.randbytes(2_000_000) + bytes(700_000),
        "weights": struct.pack("<200000e", *(source.gauss(0, 0.02) for _ in range(200_000))),
        "large.exec": ("exec", source.randbytes(SMALL_BYTES)),
        "sub": {
            "deep": {f"f{number}": source.randbytes(number * 7) for number in range(150)},
            "copy": b"the same line again and again\n" * 900,
        },
    }


def test_a_tree_of_every_sort_of_entry(cache: Cache, remote: Remote, tmp_path: Path) -> None:
    content = everything(1)
    root = add_folder(cache, content)
    push(remote, cache, [root])
    shutil.rmtree(cache.folder)
    assert_restores(remote, root, tmp_path / "back", content)


def test_single_files_small_and_large(cache: Cache, remote: Remote, tmp_path: Path) -> None:
    pushed = []
    for data in (b"", b"small", random.Random(3).randbytes(1_500_000)):
        oid = hash_bytes(data)
        publish_object(cache, oid, data)
        pushed.append((Root("file", oid, len(data), 1, "f"), data))
    push(remote, cache, [root for root, _ in pushed])
    for number, (root, data) in enumerate(pushed):
        target = tmp_path / f"back{number}"
        assert restore(remote, root, target).returncode == 0
        assert target.read_bytes() == data


def test_a_folder_split_into_parts_twice(
    cache: Cache, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_ENTRIES", 256)
    # more than 256 names whose hash begins with 0: their part is split again by the next byte
    names = [name for name in map(str, range(80_000)) if hash_bytes(name.encode())[0] == 0]
    names += [f"n{number}" for number in range(100)]
    assert len(names) > 356
    content: dict[str, Content] = {name: name[-1:].encode() for name in names}
    root = add_folder(cache, {"big": content})
    push(remote, cache, [root])
    assert_restores(remote, root, tmp_path / "back", {"big": content})


def test_a_long_recipe_in_parts(
    cache: Cache, remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushlarge, "PART_CHUNKS", 64)
    content: dict[str, Content] = {"big": random.Random(9).randbytes(20_000_000)}
    root = add_folder(cache, content)
    push(remote, cache, [root])
    assert_restores(remote, root, tmp_path / "back", content)


def test_many_pushes_whose_segments_were_merged(
    cache: Cache, remote: Remote, tmp_path: Path
) -> None:
    content: dict[str, Content] = {}
    for number in range(10):
        content[f"f{number}"] = b"%d" % number
        content["large"] = random.Random(5).randbytes(900_000) + b"%d" % number
        root = add_folder(cache, content)
        push(remote, cache, [root])
    assert any(name.supersedes for name in remote.listing().readable)
    assert_restores(remote, root, tmp_path / "back", content)


def test_a_damaged_pack_is_noticed(cache: Cache, remote: Remote, tmp_path: Path) -> None:
    root = add_folder(cache, {"large": random.Random(2).randbytes(400_000)})
    push(remote, cache, [root])
    packs = Path(remote.backend.url.removeprefix("file://"), "packs").glob("*/*")
    path = max(packs, key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[200_000] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    done = restore(remote, root, tmp_path / "back")
    assert done.returncode == 1
    assert "damaged" in done.stderr


def test_the_script_is_short_and_stands_alone() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    assert "import dvlite" not in text
    assert "from dvlite" not in text
