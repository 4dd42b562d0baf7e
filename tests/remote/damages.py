"""Everything that can happen to the files of a remote in a folder, one function each.

A damage changes a `Store` and returns the names that a check has to find wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dvlite.storage.inventory import open_whole
from dvlite.storage.pack import HEAD, META, TAIL, check_head, footer_place
from dvlite.storage.remote import Remote, SegmentName, pack_name, parse_name, render_name
from dvlite.storage.segment import HEAD_BYTES

Names = set[str]


@dataclass(frozen=True, slots=True)
class Store:
    """A remote's folder."""

    path: Path
    remote: Remote

    def data(self, name: str) -> bytearray:
        return bytearray((self.path / name).read_bytes())

    def write(self, name: str, data: bytes) -> Names:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(data)
        return {name}

    def delete(self, name: str) -> Names:
        (self.path / name).unlink()
        return {name}

    def flip(self, name: str, at: int, bit: int = 1) -> Names:
        data = self.data(name)
        data[at] ^= bit
        return self.write(name, bytes(data))

    def swap(self, one: str, other: str) -> Names:
        first, second = self.data(one), self.data(other)
        return self.write(one, bytes(second)) | self.write(other, bytes(first))

    def packs(self, content: int) -> list[str]:
        """Names of the packs that the index names, largest first."""
        named = {
            pack_name(pack)
            for name in self.remote.listing().readable
            for pack in open_whole(self.remote, name).pack_ids()
        }
        heads = {one: bytes(self.data(one)[: HEAD.size]) for one in named}
        found = [one for one, head in heads.items() if check_head(head)[0] == content]
        return sorted(found, key=lambda one: (-len(self.data(one)), one))

    def segments(self, merged: bool) -> list[SegmentName]:
        """Segments in use, those with most rows first."""
        found = [one for one in self.remote.listing().readable if bool(one.supersedes) == merged]
        return sorted(found, key=lambda one: (-one.counts.chunks - one.counts.objects, one.id))


@dataclass(frozen=True, slots=True)
class FarStore(Store):
    """A remote that is no folder; `path` leads nowhere."""

    def data(self, name: str) -> bytearray:
        return bytearray(self.remote.backend.read(name))

    def write(self, name: str, data: bytes) -> Names:
        self.remote.backend.write(name, data)
        return {name}

    def delete(self, name: str) -> Names:
        self.remote.backend.delete(name)
        return {name}


Damage = Callable[[Store], Names]


def _pack_damages(content: int, nth: int = 0) -> dict[str, Damage]:
    def of(change: Callable[[Store, str], Names]) -> Damage:
        return lambda store: change(store, store.packs(content)[nth])

    def footer(store: Store, name: str) -> int:
        data = store.data(name)
        return footer_place(bytes(data[-TAIL.size :]), len(data))[0]

    return {
        "deleted": of(lambda store, name: store.delete(name)),
        "emptied": of(lambda store, name: store.write(name, b"")),
        "one byte short": of(lambda store, name: store.write(name, store.data(name)[:-1])),
        "cut in half": of(
            lambda store, name: store.write(name, store.data(name)[: len(store.data(name)) // 2])
        ),
        "longer": of(lambda store, name: store.write(name, store.data(name) + b"\0")),
        "zeroed": of(lambda store, name: store.write(name, bytes(len(store.data(name))))),
        "bit in the head's magic": of(lambda store, name: store.flip(name, 0)),
        "bit in the head's epoch": of(lambda store, name: store.flip(name, 16)),
        "bit in a frame's head": of(lambda store, name: store.flip(name, HEAD.size)),
        "bit in a frame": of(lambda store, name: store.flip(name, HEAD.size + 40, 128)),
        "bit in the last frame": of(lambda store, name: store.flip(name, footer(store, name) - 1)),
        "bit in the footer": of(lambda store, name: store.flip(name, footer(store, name) + 3)),
        "bit in the tail": of(lambda store, name: store.flip(name, -TAIL.size + 1)),
        "bit in the last byte": of(lambda store, name: store.flip(name, -1)),
    }


def _segment_damages(merged: bool) -> dict[str, Damage]:
    def of(change: Callable[[Store, str], Names]) -> Damage:
        return lambda store: change(store, render_name(store.segments(merged)[0]))

    def section(number: int) -> Damage:
        def flip(store: Store) -> Names:
            segment = store.segments(merged)[0]
            offset, length = segment.counts.sections()[number]
            assert length
            return store.flip(render_name(segment), offset + length // 2)

        return flip

    kinds = {
        "emptied": of(lambda store, name: store.write(name, b"")),
        "one byte short": of(lambda store, name: store.write(name, store.data(name)[:-1])),
        "longer": of(lambda store, name: store.write(name, store.data(name) + b"\0")),
        "zeroed": of(lambda store, name: store.write(name, bytes(len(store.data(name))))),
        "bit in the head": of(lambda store, name: store.flip(name, 9)),
        "bit in the stamp": of(lambda store, name: store.flip(name, HEAD_BYTES - 60)),
        "bit in the object rows": section(2),
        "bit in the pack ids": section(3),
        "bit in the object fan-out": section(4),
        "bit in the roots": section(5),
        "bit in the trailer": of(lambda store, name: store.flip(name, -100)),
        "bit in the last byte": of(lambda store, name: store.flip(name, -1)),
    }
    if not merged:
        # a merge may vanish: what it replaced counts again
        kinds["deleted"] = of(lambda store, name: store.delete(name) and set())
        kinds["bit in the chunk rows"] = section(0)
        kinds["bit in the chunk fan-out"] = section(1)
    return kinds


def _parameters(store: Store) -> Names:
    content = json.loads(store.data("dvlite.json"))
    content["chunker"]["average"] = 4096
    return store.write("dvlite.json", json.dumps(content).encode())


def _record(store: Store) -> str:
    return "roots/" + sorted(one.name for one in (store.path / "roots").iterdir())[-1]


def _marker(store: Store, data: bytes) -> Names:
    """The remote's first epoch had begun, and its marker is broken."""
    return store.write("index/gc-0000000000000001", data)


def _all(store: Store, folder: str) -> Names:
    names = [one for one in (store.path / folder).rglob("*") if one.is_file()]
    for one in names:
        one.unlink()
    return set()


def _swap_segments(store: Store) -> Names:
    first, second = store.segments(False)[:2]
    return store.swap(render_name(first), render_name(second))


def _both_packs(store: Store) -> Names:
    data, meta = store.packs(0)[0], store.packs(META)[0]
    return store.delete(data) | store.flip(meta, 60)


def _segment_and_pack(store: Store) -> Names:
    names = store.flip(store.packs(0)[0], 100)
    return names | store.flip(render_name(store.segments(False)[0]), 150)


def _segment_and_its_pack(store: Store) -> Names:
    """Nothing but the records of roots tells then what the segment named."""
    segment = store.segments(False)[0]
    packs = {pack_name(pack) for pack in open_whole(store.remote, segment).pack_ids()}
    for pack in packs & set(store.packs(META)):
        store.delete(pack)
    return store.write(render_name(segment), b"")


def _merge_and_sources(store: Store) -> Names:
    merge = store.segments(True)[0]
    names = store.flip(render_name(merge), 200)
    for one in (store.path / "index").iterdir():
        segment = parse_name(one.name)
        if segment is not None and segment.short in merge.supersedes:
            one.unlink()
    return names


DAMAGES: dict[str, Damage] = {
    **{f"data pack, {kind}": one for kind, one in _pack_damages(0).items()},
    **{f"meta pack, {kind}": one for kind, one in _pack_damages(META).items()},
    **{f"smaller data pack, {kind}": one for kind, one in list(_pack_damages(0, 1).items())[:2]},
    **{f"smaller meta pack, {kind}": one for kind, one in list(_pack_damages(META, 1).items())[:2]},
    **{f"segment, {kind}": one for kind, one in _segment_damages(False).items()},
    **{f"merged segment, {kind}": one for kind, one in _segment_damages(True).items()},
    "data packs, swapped": lambda store: store.swap(*store.packs(0)[:2]),
    "meta packs, swapped": lambda store: store.swap(*store.packs(META)[:2]),
    "data and meta pack, swapped": lambda store: store.swap(
        store.packs(0)[0], store.packs(META)[0]
    ),
    "segments, swapped": _swap_segments,
    "a data pack gone and a meta pack damaged": _both_packs,
    "a pack and its segment damaged": _segment_and_pack,
    "a segment damaged and its meta pack gone": _segment_and_its_pack,
    "a merge damaged and what it replaced gone": _merge_and_sources,
    "all packs gone": lambda store: _all(store, "packs"),
    "all of the index gone": lambda store: _all(store, "index"),
    "dvlite.json, deleted": lambda store: store.delete("dvlite.json"),
    "dvlite.json, emptied": lambda store: store.write("dvlite.json", b""),
    "dvlite.json, garbage": lambda store: store.write("dvlite.json", b"\xff{not json"),
    "dvlite.json, other parameters": _parameters,
    "marker, garbage": lambda store: _marker(store, b"\0garbage"),
    "marker, emptied": lambda store: _marker(store, b""),
    "marker, of another form": lambda store: _marker(store, b'{"dvlite": 1, "new": 7}'),
    "record of roots, a bit": lambda store: store.flip(_record(store), 30),
    "record of roots, emptied": lambda store: store.write(_record(store), b""),
}
