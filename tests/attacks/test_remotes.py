"""Hostile remotes: who can write to one cannot change what a commit means, nor harm its readers.

The attacker knows the format, and makes every checksum fit.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dvlite.project import Project
from dvlite.storage import pack, recipe, rootrecord, segment
from dvlite.storage.codec import HEAD, pack_frame
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.oid import hash_bytes
from dvlite.storage.remote import (
    Marker,
    SegmentName,
    marker_name,
    open_remote,
    pack_name,
    render_marker,
    render_name,
)
from dvlite.storage.row import Row, RowKind, sort_rows
from dvlite.storage.tree import encode, make_tree
from tests.attacks.hostile import arm, bounded, check_words, executed, file, surroundings
from tests.repositories import Repository

REMOTE, CORRUPT, NEWER = 7, 8, 9
TRUE = b"the true bytes, as committed"
Forge = Callable[[Path, bytes, bytes], None]


@pytest.fixture
def clone(repository: Repository) -> Repository:
    """A clone that has fetched nothing; the remote holds a file `model` and a folder `data`."""
    arm(repository)
    repository.add_and_commit({"model": TRUE, "data/a": TRUE + b"2"}, "model", "data")
    repository.share()
    return repository.clone("clone")


def rewrite(store: Path, things: dict[bytes, tuple[RowKind, bytes]], frame: bool = True) -> None:
    """Replaces all of a remote by one pack of these things, under whatever names, indexed."""
    for path in (*store.glob("packs/*/*"), *store.glob("index/s-*")):
        path.unlink()
    stream = io.BytesIO()
    writer = pack.PackWriter(stream)
    for oid, (kind, raw) in things.items():
        packed = pack_frame(raw) if frame else raw
        writer.add_frame(packed, [pack.Member(oid, kind, 0, HEAD.unpack_from(packed)[5])])
    rows, own = sort_rows(bytes(writer.rows)), writer.finish()
    write(store / pack_name(own), stream.getvalue())
    data = segment.encode(b"", rows, [own])
    counts = segment.read_head(data[: segment.HEAD_BYTES])[0]
    name = SegmentName(0, counts, hash_bytes(data).hex()[:32])
    write(store / render_name(name), data)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def oids(r: Repository) -> tuple[bytes, bytes]:
    pointers = Project.open(str(r.path)).pointers()
    return pointers["model"].oid, pointers["data"].oid


def harmless(r: Repository, *words: str, codes: tuple[int, ...]) -> str:
    """A command in bounded memory: refuses, and nothing forged is anywhere in the workspace."""
    before = surroundings(r)
    ran = bounded(r, *words)
    assert ran.code in codes, ran
    now = surroundings(r)
    assert now == before
    assert not executed(r)
    for path in r.path.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            assert b"F0RGED" not in path.read_bytes()
    return ran.out + ran.err


def test_forged_bytes_under_a_true_name(clone: Repository) -> None:
    model, data = oids(clone)
    rewrite(clone.store, {model: (RowKind.FILE, b"F0RGED"), data: (RowKind.FILE, b"F0RGED")})
    harmless(clone, "pull", codes=(CORRUPT,))
    assert not (clone.path / "model").exists()


def test_a_forged_tree_under_a_true_name(clone: Repository) -> None:
    model, data = oids(clone)
    tree = encode(make_tree([file(b"../../victim/forged", b"F0RGED")]))
    body = recipe.encode(recipe.TREE, tree, [None])
    rewrite(clone.store, {data: (RowKind.TREE_RECIPE, body), model: (RowKind.FILE, TRUE)})
    harmless(clone, "pull", codes=(CORRUPT,))
    assert not (clone.path / "data").exists()


def test_a_forged_recipe_of_a_file(clone: Repository) -> None:
    model, _ = oids(clone)
    body = recipe.encode_chunks([hash_bytes(b"F0RGED")], [None])
    chunk = (RowKind.CHUNK, b"F0RGED")
    things = {model: (RowKind.FILE_RECIPE, body), hash_bytes(b"F0RGED"): chunk}
    rewrite(clone.store, things)
    harmless(clone, "pull", codes=(CORRUPT,))
    assert not (clone.path / "model").exists()


def _zstd_bomb(claimed: int) -> bytes:
    """A frame of a gigabyte of zeros in 32 KB."""
    import zstandard
    from xxhash import xxh3_64_intdigest

    stored = zstandard.ZstdCompressor(level=19).compress(bytes(256 << 20))
    return HEAD.pack(1, 0, 0, 0, len(stored), claimed, xxh3_64_intdigest(stored)) + stored


@pytest.mark.parametrize("claimed", [100, 60 << 20, 256 << 20, 2**32 - 1])
def test_a_frame_that_explodes(clone: Repository, claimed: int) -> None:
    model, _ = oids(clone)
    rewrite(clone.store, {model: (RowKind.FILE, _zstd_bomb(claimed))}, frame=False)
    harmless(clone, "pull", codes=(CORRUPT,))


def _bytes_after(frame: bytes) -> bytes:
    from xxhash import xxh3_64_intdigest

    codec, _, _, _, _, raw, _ = HEAD.unpack_from(frame)
    stored = frame[HEAD.size :] + b"F0RGED"
    return HEAD.pack(codec, 0, 0, 0, len(stored), raw, xxh3_64_intdigest(stored)) + stored


def test_bytes_behind_what_is_compressed(clone: Repository) -> None:
    from dvlite.errors import CorruptError
    from dvlite.storage.codec import unpack_frame

    with pytest.raises(CorruptError):
        unpack_frame(_bytes_after(pack_frame(b"abc" * 1000)))


FILES: dict[str, tuple[str, bytes, tuple[int, ...]]] = {
    "description-true": ("dvlite.json", b'{"dvlite": true, ', (NEWER, REMOTE)),
    "description-half": ("dvlite.json", b'{"dvlite": 0.5, ', (NEWER, REMOTE)),
    "description-zero": ("dvlite.json", b'{"dvlite": 0, ', (NEWER, REMOTE)),
    "description-huge": ("dvlite.json", b'{"dvlite": ' + b"9" * 9000 + b", ", (NEWER, REMOTE)),
}


@pytest.mark.parametrize("case", FILES)
def test_a_description_of_a_strange_version(clone: Repository, case: str) -> None:
    name, start, codes = FILES[case]
    path = clone.store / name
    rest = json.loads(path.read_bytes())
    del rest["dvlite"]
    write(path, start + json.dumps(rest).encode()[1:])
    harmless(clone, "fetch", codes=codes)


@pytest.mark.parametrize("size", [1 << 20, 200 << 20])
def test_a_description_that_does_not_end(clone: Repository, size: int) -> None:
    path = clone.store / "dvlite.json"
    write(path, b"")
    os.truncate(path, size)
    harmless(clone, "fetch", codes=(REMOTE,))


def test_a_marker_of_gigabytes(clone: Repository) -> None:
    path = clone.store / marker_name(1)
    write(path, render_marker(Marker()))
    os.truncate(path, 8 << 30)
    harmless(clone, "pull", codes=(0,))
    harmless(clone, "push", codes=(CORRUPT,))


@pytest.mark.parametrize("text", [b"[" * 60_000, b'{"dvlite": 1, "new": [[', b'"', b"\xff", b"{}"])
def test_a_marker_that_is_none(clone: Repository, text: bytes) -> None:
    write(clone.store / marker_name(1), text)
    harmless(clone, "pull", codes=(0,))
    harmless(clone, "push", codes=(CORRUPT,))


def test_a_segment_that_claims_more_than_there_is(clone: Repository) -> None:
    (path,) = clone.store.glob("index/s-*")
    counts = segment.Counts(10**15, 0, 1, 0)
    path.rename(clone.store / render_name(SegmentName(0, counts, "0" * 32)))
    text = harmless(clone, "pull", codes=(6, CORRUPT))
    assert "Memory" not in text


def test_a_record_of_roots_of_nonsense(clone: Repository) -> None:
    (path,) = clone.store.glob("roots/*")
    write(path, path.read_bytes()[:40] + b"\xff" * 5000)
    harmless(clone, "pull", codes=(0,))
    check_words(clone.dvlite("remote", "check", code=None))
    name, _ = rootrecord.render_record("00" * 16, rootrecord.Said(), 1)
    write(clone.store / name, b"")
    harmless(clone, "push", codes=(0,))


@pytest.mark.parametrize("name", ["index/s-0-x", "index/\x1b[2J", "packs/aa/..", "index/-rf"])
def test_odd_names_on_the_remote(clone: Repository, name: str) -> None:
    if name.endswith(".."):
        name = "packs/aa/..."
    write(clone.store / name, b"F0RGED")
    harmless(clone, "pull", codes=(0,))
    check_words(clone.dvlite("remote", "check", code=None))


@pytest.mark.parametrize("name", ["packs", "index", "dvlite.json"])
def test_links_and_fifos_on_a_remote_in_a_folder(clone: Repository, name: str) -> None:
    target = clone.store / name
    aside = clone.store.parent / "moved"
    target.rename(aside)
    if name == "dvlite.json":
        os.mkfifo(target)
        harmless(clone, "fetch", codes=(REMOTE,))
        return
    target.symlink_to("../victim")
    harmless(clone, "pull", codes=(0, 6, REMOTE, CORRUPT))


def test_what_a_remote_says_of_itself_is_bounded(clone: Repository) -> None:
    remote = open_remote("x", FolderBackend(str(clone.store)))
    assert remote.listing().readable
    model, _ = oids(clone)
    row = Row(model, RowKind.FILE, 0, 0, 2**32 - 1, 0, 2**32 - 1)
    (pack_path,) = list(clone.store.glob("packs/*/*"))[:1]
    data = segment.encode(b"", row.pack_bytes(), [bytes.fromhex(pack_path.name)])
    counts = segment.read_head(data[: segment.HEAD_BYTES])[0]
    for path in clone.store.glob("index/s-*"):
        path.unlink()
    write(clone.store / render_name(SegmentName(0, counts, "1" * 32)), data)
    harmless(clone, "pull", "model", codes=(6, CORRUPT))
