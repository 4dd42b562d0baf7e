"""Restores one object from a folder remote, written from docs/formats.md alone.

    python restore_without_dvlite.py REMOTE_FOLDER OID_TEXT file|tree TARGET

Every object is checked against its id; hints are ignored.
"""

import os
import struct
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import zstandard
from blake3 import blake3

CHUNK, FILE, TREE_RECIPE, FILE_RECIPE, RECIPE_PART = 0, 1, 3, 4, 5  # kinds of rows
EXEC, LINK, FOLDER, PART = 1, 2, 3, 4  # kinds of a tree's entries
ZSTD = zstandard.ZstdDecompressor()
tree_hash = partial(blake3, derive_key_context="dvlite 1 tree")
part_hash = partial(blake3, derive_key_context="dvlite 1 recipe part")


def check(condition, message):
    if not condition:
        raise SystemExit(f"error: {message}")


def bits(rows):
    return next(b for b in range(25) if 219 << b >= rows or b == 24) if rows else 1


def read_segments(folder):
    """(id, kind) -> places, from all segments, the newest epoch first."""
    places = defaultdict(list)
    for path in sorted(folder.glob("index/s-*"), key=lambda path: -int(path.name.split("-")[1])):
        data = path.read_bytes()
        check(data[:8] == b"dvlsegm\x01" and data[-8:] == b"dvlsegmE", f"{path}: not a segment")
        check(blake3(data).hexdigest()[:32] == path.name.split("-")[6], f"{path}: damaged")
        chunks, objects, packs = struct.unpack_from("<QQQ", data, 16)
        objects_at = 128 + 56 * chunks + (12 << bits(chunks))
        packs_at = objects_at + 56 * objects
        rows = data[128 : 128 + 56 * chunks] + data[objects_at:packs_at]
        check(packs_at + 32 * packs <= len(data), f"{path}: cut short")
        for oid, kind, pack, *place in struct.iter_unpack("<32sB3xIIIII", rows):
            pack_id = data[packs_at + 32 * pack : packs_at + 32 * pack + 32].hex()
            places[oid, kind].append((folder / "packs" / pack_id[:2] / pack_id, *place))
    return places


def unzip(data, size):
    """What has its full size is stored as it is, all else is zstd."""
    return data if len(data) == size else ZSTD.decompress(data, max_output_size=size)


def read_frame(frame):
    """The raw bytes; nothing if it is damaged, so that another place is tried."""
    codec, key, _, size = struct.unpack_from("<BB6xQQ", frame.ljust(32, b"\0"))
    check(codec in (0, 1, 2) and key == 0, "a frame of a newer version")
    raw, stored = bytearray(min(size, 64 << 20)), frame[32:]
    try:
        if codec < 2:
            return unzip(stored, len(raw))
        width, at = stored[0], 4 + 4 * stored[0]
        for first, length in enumerate(struct.unpack_from(f"<{width}I", stored, 4)):
            raw[first::width] = unzip(stored[at : at + length], len(raw[first::width]))
            at += length
        return bytes(raw)
    except (zstandard.ZstdError, struct.error, ValueError, IndexError):
        return b""


class Remote:
    def __init__(self, folder):
        self.places = read_segments(folder)

    def candidates(self, oid, kind):
        """What each place that the segments give for an id holds."""
        there = [place for place in self.places[oid, kind] if place[0].exists()]
        for pack, offset, length, inner, raw_length in there:
            with open(pack, "rb") as stream:
                stream.seek(offset)
                yield read_frame(stream.read(length))[inner : inner + raw_length]

    def read(self, oid, kind, hasher=blake3):
        for data in self.candidates(oid, kind):
            if hasher(data).digest() == oid:
                return data
        raise SystemExit(f"error: {oid.hex()} is not on the remote, or damaged")

    def pieces(self, recipe):
        """The chunks of a recipe of chunks or of parts, in order."""
        what, ids = read_recipe(recipe)
        for piece in (ids[at : at + 32] for at in range(0, len(ids), 32)):
            if what == 1:
                yield from self.pieces(self.read(piece, RECIPE_PART, part_hash))
            else:
                yield self.read(piece, CHUNK)

    def write_file(self, oid, target, executable=False):
        recipe, hasher = next(filter(None, self.candidates(oid, FILE_RECIPE)), b""), blake3()
        with open(target, "xb") as stream:
            for piece in [self.read(oid, FILE)] if self.places[oid, FILE] else self.pieces(recipe):
                hasher.update(piece)
                stream.write(piece)
        check(hasher.digest() == oid, f"{target} is damaged on the remote")
        os.chmod(target, 0o755 if executable else 0o644)

    def read_folder(self, oid):
        """Entries (name, kind, oid) of a folder; parts are put together."""
        bodies = (read_recipe(data)[1] for data in filter(None, self.candidates(oid, TREE_RECIPE)))
        tree = next((body for body in bodies if tree_hash(body).digest() == oid), b"")
        check(tree[:8] == b"dvltree\x01", f"no tree {oid.hex()}, or one of a newer version")
        count, folders = struct.unpack_from("<II", tree, 8)
        oids_at = 16 + 9 * count + 8 * folders
        names = tree[oids_at + 32 * count :].split(b"\0") if count else []
        for number, name in enumerate(names):
            kind, at = tree[16 + number], oids_at + 32 * number
            check(name not in (b"", b".", b"..") and b"/" not in name, f"bad name {name}")
            if kind == PART:
                yield from self.read_folder(tree[at : at + 32])
            else:
                yield name, kind, tree[at : at + 32]

    def write_tree(self, oid, target):
        os.mkdir(target)
        for name, kind, entry_oid in self.read_folder(oid):
            path = os.path.join(target, os.fsdecode(name))
            if kind == FOLDER:
                self.write_tree(entry_oid, path)
            elif kind == LINK:
                os.symlink(self.read(entry_oid, FILE), os.fsencode(path))
            else:
                self.write_file(entry_oid, path, kind == EXEC)


def read_recipe(data):
    """What a recipe is (0 chunks, 1 parts, 2 tree), and its body."""
    check(data[:8] == b"dvlreci\x01", "a recipe of a newer version")
    what, packs, hints, length = struct.unpack_from("<B3xIIQ", data, 8)
    body = data[28 + 32 * packs + 21 * hints :]
    check(len(body) == length, "a recipe does not fit its length")
    return what, body


if __name__ == "__main__":
    remote = Remote(Path(sys.argv[1]))
    write = remote.write_tree if sys.argv[3] == "tree" else remote.write_file
    write(bytes.fromhex(sys.argv[2].removeprefix("blake3:")), sys.argv[4])
