"""Making damaged files of a remote what their names say, byte for byte.

Owns the one thing that may be written over what is there: bytes that hash to the name. A pack is
taken from another remote that has it, or put together again: frames that are good as they are,
the others compressed anew from what the cache has, head and footer from the index. Whatever does
not come out with the right hash is not written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from blake3 import blake3

from dvlite.errors import CorruptError
from dvlite.storage.backend import NotThere
from dvlite.storage.check import CheckReport
from dvlite.storage.codec import WIDTHS, pack_frame
from dvlite.storage.index import segment_id
from dvlite.storage.pack import DATA, HEAD, META, encode_head, encode_tail
from dvlite.storage.packcheck import stored_rows
from dvlite.storage.remote import SegmentName, pack_name, render_name
from dvlite.storage.row import ROW_BYTES, Row, RowKind
from dvlite.storage.sources import Sources

# Packs are closed at 32 MiB; one frame more is at most 64. Anything larger is not put together.
_MOST = 128 << 20
META_KINDS = frozenset((RowKind.TREE_RECIPE, RowKind.FILE_RECIPE, RowKind.RECIPE_PART))


def find_segment(report: CheckReport, sources: Sources, name: SegmentName) -> bytes | None:
    """The right bytes of a damaged segment: this machine's copy, or another remote's."""
    for data in _segment_copies(report, sources, name):
        if segment_id(data) == name.id and len(data) == name.counts.size_bytes():
            return data
    return None


def _segment_copies(report: CheckReport, sources: Sources, name: SegmentName) -> Iterator[bytes]:
    try:
        with open(os.path.join(report.index.mirror_folder, name.id), "rb") as stream:
            yield stream.read()
    except OSError:
        pass
    for index in sources.others:
        try:
            yield index.remote.backend.read(render_name(name))
        except NotThere:
            continue


def find_pack(
    report: CheckReport, sources: Sources, pack: bytes, rows: Sequence[Row]
) -> bytes | None:
    """The right bytes of a damaged or missing pack; None where they are not to be had."""
    whole = sources.pack(pack)
    if whole is not None:
        return whole
    stored = _stored_order(report, pack)
    body = _frames(report, sources, pack, stored or rows)
    if body is None:
        return None
    for footer in _footers(stored, rows):
        for epoch in _epochs(report):
            data = _put_together(body, footer, epoch)
            if blake3(data).digest() == pack:
                return data
    return None


def _epochs(report: CheckReport) -> list[int]:
    """The epochs in which the pack may have been written: those that segments were."""
    inventory = report.inventory
    names = (*inventory.listing.readable, *inventory.bad, *inventory.older)
    return sorted({0, inventory.listing.epoch, *(name.epoch for name in names)}, reverse=True)


def _stored_order(report: CheckReport, pack: bytes) -> list[Row]:
    """The rows of the pack's own footer, where that is sound."""
    size = report.inventory.packs.get(pack)
    try:
        return stored_rows(report.index.remote.backend, pack, size) if size else []
    except (CorruptError, NotThere):
        return []


def _frames(
    report: CheckReport, sources: Sources, pack: bytes, rows: Iterable[Row]
) -> bytes | None:
    """All frames one after the other; None where one is not to be had."""
    body = bytearray()
    for (offset, length), found in groupby(sorted(rows, key=_place), key=_frame):
        if offset != HEAD.size + len(body) or len(body) + length > _MOST:
            return None
        frame = _one_frame(report, sources, pack, list(found))
        if frame is None or len(frame) != length:
            return None
        body += frame
    return bytes(body) or None


def _one_frame(report: CheckReport, sources: Sources, pack: bytes, rows: list[Row]) -> bytes | None:
    bad = report.bad
    absent = pack in bad.absent
    if not absent and not any((pack, row.id, row.kind) in bad.rows for row in rows):
        name, first = pack_name(pack), rows[0]
        return report.index.remote.backend.read(name, first.frame_offset, first.frame_length)
    raw = bytearray()
    for row in rows:
        if row.inner_offset + row.raw_length <= len(raw):  # the same bytes under another kind
            continue
        found = sources.raw(row.id, row.kind) if row.inner_offset == len(raw) else None
        if found is None or row.kind in (RowKind.TREE_RECIPE, RowKind.FILE_RECIPE):
            return None
        raw += found
    # only the length tells whether it was compressed in planes; the pack's hash decides
    frames = (pack_frame(bytes(raw), width) for width in (1, *WIDTHS))
    return next((frame for frame in frames if len(frame) == rows[0].frame_length), None)


def _footers(stored: list[Row], rows: Sequence[Row]) -> Iterator[bytes]:
    """The footers that the pack may have had: in a frame, rows are by place or by id."""
    if stored:
        yield b"".join(row.pack_bytes() for row in stored)
        return
    for order in (_place, lambda row: (_frame(row), row.id)):
        yield b"".join(row._replace(pack=0).pack_bytes() for row in sorted(rows, key=order))


def _put_together(body: bytes, footer: bytes, epoch: int) -> bytes:
    kinds = {footer[at + 32] for at in range(0, len(footer), ROW_BYTES)}
    head = encode_head(META if kinds & META_KINDS else DATA, epoch)
    return b"".join((head, body, footer, encode_tail(len(head) + len(body), footer)))


def _frame(row: Row) -> tuple[int, int]:
    return row.frame_offset, row.frame_length


def _place(row: Row) -> tuple[object, ...]:
    return (*_frame(row), row.inner_offset, row.raw_length)
