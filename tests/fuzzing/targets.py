"""What is fuzzed: every parser of bytes that others write, with bytes that it takes.

A target takes any bytes, and either returns or raises a `DvliteError`. Where a checksum guards
against accidents, another target seals what it is given: forgers do.
"""

from __future__ import annotations

import io
import os
import tempfile
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest, xxh3_128_digest

from dvlite.gitfiles import SmallFile
from dvlite.pipeline import lockfile, params, stagefile
from dvlite.storage import codec, pack, publishedlist, recipe, remote, rootrecord, segment, tree
from dvlite.storage.backend import Stored
from dvlite.storage.oid import hash_bytes
from dvlite.storage.row import Row, RowKind, sort_rows
from dvlite.workspace import (
    base,
    config,
    conflicted,
    dvcfiles,
    ignorefile,
    imported,
    lfspointer,
    pointer,
    statindex,
    yamltext,
)

Run = Callable[[bytes], object]
_FOLDER = tempfile.mkdtemp(prefix="dvlite-fuzz-")


@dataclass(frozen=True, slots=True)
class Target:
    """`seeds`: bytes of which a parser takes at least the first."""

    run: Run
    seeds: tuple[bytes, ...]


def _in_file(name: str, run: Callable[[str], object]) -> Run:
    """For parsers of files: the same one is written over and over."""
    path = os.path.join(_FOLDER, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)

    def call(data: bytes) -> object:
        with open(path, "wb") as stream:
            stream.write(data)
        return run(path)

    return call


# -- bytes that are sealed -------------------------------------------------------------------------


def _frame(data: bytes) -> bytes:
    """Codec, raw length, and what is stored, with the right checksum and length."""
    stored = data[5:]
    raw_length = int.from_bytes(data[1:5].ljust(4, b"\0"), "little")
    head = (data[0] % 4 if data else 0, 0, 0, 0, len(stored), raw_length)
    return codec.HEAD.pack(*head, xxh3_64_intdigest(stored)) + stored


def _unframe(frame: bytes) -> bytes:
    """The inverse, for seeds."""
    head = codec.HEAD.unpack_from(frame)
    return bytes([head[0]]) + head[5].to_bytes(4, "little") + frame[codec.HEAD.size :]


def _sealed(data: bytes) -> bytes:
    """A stat index's bytes with the checksum that fits."""
    head = statindex._HEAD
    if len(data) < head.size:
        return data
    magic, version, count, _ = head.unpack_from(data)
    body = data[head.size :]
    return head.pack(magic, version, count, xxh3_128_digest(body)) + body


def _end(data: bytes) -> bytes:
    """A footer with the tail that fits."""
    return data + pack.encode_tail(0, data)


def _read_frame(frame: bytes) -> None:
    codec.unpack_frame(frame, 1 << 20)
    codec.check_frame(frame)


def _read_segment(data: bytes) -> None:
    found = segment.open_bytes(data)
    found.objects.all_rows()
    found.chunks.find_many([bytes(32), b"\xf0" * 32])
    found.objects.find_many([bytes(32), b"\xf0" * 32])
    found.pack_ids()


def _read_description(data: bytes) -> None:
    remote._check_description(data, "/remote")


def _read_stat_index(path: str) -> None:
    for block in statindex.load(path).blocks.values():
        block.name_list()
        block.stat_columns()


def _read_config(path: str) -> None:
    root = os.path.dirname(os.path.dirname(path))
    found = config.load(root, os.path.join(_FOLDER, "private.toml"))
    for key in config.KEYS:
        found.get(key)
    for one in found.remotes().values():
        config.redact(one.url)


def _read_ignore(path: str) -> None:
    rules = ignorefile.Ignore().entering(os.path.dirname(path), "")
    for name in ("a", "sub/b.txt", "x" * 40):
        rules.matches(name, is_folder=False)


def _read_dvc(data: bytes) -> None:
    is_lock = data.startswith(b"schema")
    imported.pointers_of_outs({}, dvcfiles.read_any(data, "dvc.lock" if is_lock else "data.dvc"))


def _read_lfs(data: bytes) -> None:
    lfspointer.parse_lfs_pointer(data)
    imported.pointers_of_lfs({}, {"a": SmallFile(data, False)})


def _read_stages(data: bytes) -> None:
    files = {"dvlite.yaml": data, "params.yaml": b"a: 1\n"}
    stagefile.load(files.get)


# -- seeds -----------------------------------------------------------------------------------------

_OID = hash_bytes(b"x")
_TREE = tree.encode(
    tree.make_tree(
        [
            tree.Entry(b"sub", tree.Kind.TREE, _OID, 1000, 7),
            tree.Entry(b"a.txt", tree.Kind.FILE, _OID, 5),
            tree.Entry(b"run", tree.Kind.EXEC, _OID, 258),
            tree.Entry(b"to", tree.Kind.LINK, _OID, 5),
        ]
    )
)
_PARTS = tree.encode(
    tree.make_tree([tree.Entry(b"%02x" % n, tree.Kind.PART, _OID, 9, 2) for n in range(256)])
)
_ROWS = [Row(bytes([n]) * 32, RowKind.FILE, 0, 32 + 40 * n, 40, 0, 9) for n in (1, 0x80, 0xF0)]
_ROW_BYTES = sort_rows(b"".join(row.pack_bytes() for row in _ROWS))
_SEGMENT = segment.encode(b"", _ROW_BYTES, [b"\xaa" * 32], [_OID], segment.Stamp(1, tool="1"))
_RECIPES = (
    recipe.encode_chunks([_OID, b"\2" * 32], [None, None]),
    recipe.encode(recipe.PARTS, _OID * 2, [None, None]),
)
_POINTER = pointer.render(pointer.Pointer("tree", _OID, 1000, 7, extra=(("note", "x"),)))
_FRAMES = tuple(
    _unframe(codec.pack_frame(raw, width))
    for raw, width in ((b"abc" * 200, 1), (b"", 1), (bytes(range(256)) * 8, 2), (bytes(4000), 4))
)
_MARKER = remote.render_marker(remote.Marker(frozenset(["ab"]), frozenset(["cd"])))
_, _RECORD = rootrecord.render_record("00" * 16, rootrecord.Said(now={_OID}), 1)
_NAME = rootrecord.render_record("00" * 16, rootrecord.Said(now={_OID}), 1)[0]
_CONFIG = (
    b'dvlite = 1\n[core]\nremote = "a"\njobs = 4\n[cache]\nlink = "copy"\n'
    b'[remote.a]\nurl = "s3://b/c?x=1"\nendpoint_url = "https://user:pw@h"\n'
)
_IMPORTED = imported.render({"md5:" + "0" * 32: pointer.Pointer("file", _OID, 5)})
_DVC = (
    b"outs:\n- md5: d8e8fca2dc0f896fd7cb4cb0031ba249.dir\n  size: 4\n  nfiles: 2\n"
    b"  hash: md5\n  path: data\n"
)
_DVC_LOCK = (
    b"schema: '2.0'\nstages:\n  train:\n    cmd: python train.py\n    outs:\n"
    b"    - path: model\n      hash: md5\n      md5: d8e8fca2dc0f896fd7cb4cb0031ba249\n"
)
_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
_STAGES = (
    b"stages:\n  train:\n    cmd: python train.py\n    deps: [a, b]\n    params: [lr]\n"
    b"    outs:\n    - model\n    - log:\n        cache: false\n"
)
_LOCK = """\
dvlite: 1
stages:
  train@cnn-0.1:
    cmd: ["python train.py", "echo"]
    wdir: "src"
    env: {"A": "1"}
    deps:
      - {"path": "x.csv", "kind": "file", "oid": "blake3:OID", "size": 12}
    params:
      - {"file": "p.yaml", "key": "b", "value": [1, null]}
    outs:
      - {"path": "logs", "kind": "tree", "oid": "blake3:OID", "size": 7, "files": 3}
""".replace("OID", _OID.hex()).encode()
_LISTING = remote.Listing(0, (), ())
_STORED = [
    Stored(remote.DESCRIPTION_NAME, 100, 0.0),
    Stored(remote.pack_name(_OID), 1000, 0.0),
    Stored(_NAME, 200, 0.0),
]
_IGNORE = b"# c\n*.tmp\n!keep.tmp\n/build/\na/**/b\n[a-z]?\\ \n"


def _stat_seed() -> bytes:
    stats = array("q", [33188, 5, 1, 1, 1]).tobytes()
    block = statindex.Block(b"s" * 16, _OID, 5, 1, b"name", b"\0", stats, _OID)
    path = os.path.join(_FOLDER, "seed")
    statindex.save(path, [(b"", block), (b"sub", block)])
    with open(path, "rb") as stream:
        return stream.read()


def _base_seed() -> bytes:
    path = os.path.join(_FOLDER, "seed")
    base.save(path, base.Base().updated({"a b": pointer.Pointer("file", _OID, 5)}))
    with open(path, "rb") as stream:
        return stream.read()


def _pack_seed() -> bytes:
    stream = io.BytesIO()
    writer = pack.PackWriter(stream)
    writer.add(_OID, RowKind.FILE, b"x")
    writer.add(_OID, RowKind.FILE, b"abc" * 50)
    writer.finish()
    return stream.getvalue()


_READ_BASE = _in_file("base", base.load)
_READ_INDEX = _in_file("stat", _read_stat_index)

TARGETS: dict[str, Target] = {
    "pointer": Target(lambda data: pointer.parse(data, "a.dvl"), (_POINTER,)),
    "conflicted": Target(lambda data: conflicted.parse_conflicted(data, "a.dvl"), (_POINTER,)),
    "tree": Target(tree.decode, (_TREE, _PARTS)),
    "frame": Target(_read_frame, tuple(codec.pack_frame(b"abc" * 200, n) for n in (1, 2, 4))),
    "frame-sealed": Target(lambda data: _read_frame(_frame(data)), _FRAMES),
    "pack": Target(pack.read_pack_rows, (_pack_seed(),)),
    "pack-end": Target(lambda data: pack.read_end(_end(data)), (_ROW_BYTES,)),
    "list": Target(publishedlist.parse_list, (publishedlist.render_list(_LISTING, _STORED),)),
    "segment": Target(_read_segment, (_SEGMENT,)),
    "recipe": Target(lambda data: recipe.decode(data, b"\xaa" * 32), _RECIPES),
    "marker": Target(lambda data: remote.read_marker(data, 1), (_MARKER,)),
    "description": Target(_read_description, (remote.description(),)),
    "roots": Target(lambda data: rootrecord.read_said(_NAME, data), (_RECORD,)),
    "config": Target(_in_file("project/.dvlite/config.toml", _read_config), (_CONFIG,)),
    "ignore": Target(_in_file("ignored/.dvliteignore", _read_ignore), (_IGNORE,)),
    "imported": Target(imported.parse, (_IMPORTED,)),
    "dvc": Target(_read_dvc, (_DVC, _DVC_LOCK)),
    "dvc-settings": Target(
        lambda data: dvcfiles.read_settings(data, ".dvc/config"),
        (b"['remote \"a\"']\n    url = s3://b/c\n[core]\n    remote = a\n",),
    ),
    "dvc-manifest": Target(
        lambda data: dvcfiles.read_manifest(data, "md5"),
        (b'[{"md5": "d8e8fca2dc0f896fd7cb4cb0031ba249", "relpath": "a/b"}]',),
    ),
    "yaml": Target(lambda data: yamltext.parse_yaml(data, "x.yaml"), (_DVC_LOCK,)),
    "lfs": Target(_read_lfs, (_LFS,)),
    "stat-index": Target(_READ_INDEX, (_stat_seed(),)),
    "stat-index-sealed": Target(lambda data: _READ_INDEX(_sealed(data)), (_stat_seed(),)),
    "base": Target(_READ_BASE, (_base_seed(),)),
    "stages": Target(_read_stages, (_STAGES,)),
    "lockfile": Target(lambda data: lockfile.parse(data), (_LOCK,)),
    "params": Target(lambda data: params.read_params(data, "params.yaml"), (b"a: {b: [1, 2]}\n",)),
}
