"""Building packs and uploading several at once, in bounded memory.

Owns the packs of one push that hold one sort of content, and knows where each thing it took
lies. It promises: `drain` returns only when every pack closed so far is on the remote.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol

from dvlite.storage.backend import Backend
from dvlite.storage.codec import pack_frame
from dvlite.storage.pack import PACK_TARGET, Member, PackWriter
from dvlite.storage.recipe import SAME_PACK, Hint
from dvlite.storage.remote import pack_name
from dvlite.storage.row import PACK_AT, PIECES, ROW_BYTES, pack_row, read_row

# With one more being built, three packs in flight are 128 MiB: enough to keep a link busy.
MAX_IN_FLIGHT = 3
# A pack that has reached its target is closed: it is longer by its last frame and its footer. One
# that needs more than this gets it.
_BUFFER_BYTES = PACK_TARGET + (2 << 20)


class Rows:
    """Rows in the order they were placed, and where each id's row is.

    Packed bytes and one number an id: 200 bytes a file, which two million files can afford.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.number_of: dict[bytes, int] = {}
        self.published = 0

    def add(self, row: bytes) -> None:
        """Takes one packed row."""
        self.number_of[row[:32]] = len(self.data) // ROW_BYTES
        self.data += row

    def unpublished(self) -> bytes:
        """The rows that no segment of this push holds yet."""
        return bytes(self.data[self.published * ROW_BYTES :])

    def mark_published(self) -> None:
        """Says that a segment now holds all of them."""
        self.published = len(self.data) // ROW_BYTES

    def forget_published(self) -> None:
        """Frees the memory of rows that a segment holds and no recipe will point at."""
        rest = self.unpublished()
        self.__init__()  # type: ignore[misc]
        for start in range(0, len(rest), ROW_BYTES):
            self.add(rest[start : start + ROW_BYTES])


class _PackBuffer:
    """Memory that one pack after the other is built in.

    New memory for each took as much time as compressing what is in it: the system fills every page
    with zeros first.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BUFFER_BYTES)
        self._filled = 0

    def write(self, data: bytes) -> int:
        """Appends bytes."""
        end = self._filled + len(data)
        if end > len(self._memory):
            larger = mmap.mmap(-1, end + _BUFFER_BYTES)
            larger[: self._filled] = self._memory[: self._filled]
            self._memory = larger
        self._memory[self._filled : end] = data
        self._filled = end
        return len(data)

    def view(self) -> memoryview:
        """What was written."""
        return memoryview(self._memory)[: self._filled]

    @property
    def has_grown(self) -> bool:
        """Whether it is larger than a pack needs as a rule."""
        return len(self._memory) > _BUFFER_BYTES

    def clear(self) -> None:
        """Makes it empty. Nobody may still read what was in it."""
        self._filled = 0


class RowSource(Protocol):
    """What a segment is written of. The rows' pack numbers count in `pack_ids`."""

    pack_ids: list[bytes]
    objects: Rows
    pieces: Rows


class Adopted:
    """Rows of chunks that lie in packs which are on the remote already."""

    def __init__(self) -> None:
        self.pack_ids: list[bytes] = []
        self.objects = Rows()
        self.pieces = Rows()
        self._numbers: dict[bytes, int] = {}

    def add(self, oid: bytes, hint: Hint) -> None:
        """Takes one; a second time is ignored."""
        if oid in self.pieces.number_of:
            return
        number = self._numbers.setdefault(hint.pack, len(self.pack_ids))
        if number == len(self.pack_ids):
            self.pack_ids.append(hint.pack)
        self.pieces.add(pack_row(oid, hint.kind, number, *hint[2:]))


class Arrived:
    """The rows of an uploader's packs that are stored, where no segment of this push has them."""

    def __init__(self, uploader: Uploader) -> None:
        self.pack_ids = list(uploader.pack_ids)
        stored = {n for n, pack in enumerate(self.pack_ids) if pack in uploader.sent}
        self.objects = _of_packs(uploader.objects, stored)
        self.pieces = _of_packs(uploader.pieces, stored)


def _of_packs(rows: Rows, numbers: set[int]) -> Rows:
    kept, data = Rows(), rows.unpublished()
    for start in range(0, len(data), ROW_BYTES):
        row = data[start : start + ROW_BYTES]
        if int.from_bytes(row[PACK_AT : PACK_AT + 4], "little") in numbers:
            kept.add(row)
    return kept


class Uploader:
    """Collects frames into packs and sends full packs. Used by one thread."""

    def __init__(
        self, backend: Backend, content: int, epoch: int, jobs: int, dry_run: bool = False
    ) -> None:
        self._backend = backend
        self._content = content
        self._epoch = epoch
        self._limit = max(1, min(jobs, MAX_IN_FLIGHT))
        self._dry_run = dry_run
        self._pool = ThreadPoolExecutor(self._limit)
        self._sending: deque[Future[None]] = deque()
        self._buffer: _PackBuffer
        self._unused: deque[_PackBuffer] = deque()
        self._writer: PackWriter | None = None
        self.pack_ids: list[bytes] = []
        self.objects = Rows()
        self.pieces = Rows()
        self.stored_bytes = 0
        self.sent: dict[bytes, int] = {}

    def has(self, oid: bytes, piece: bool) -> bool:
        """Whether it took a piece, or an object, of that id. One says nothing of the other: the
        same bytes may be a file and a chunk of a larger one, and each has to be found as itself."""
        return oid in (self.pieces if piece else self.objects).number_of

    def add_frame(self, frame: bytes, members: Sequence[Member]) -> None:
        """Takes a finished frame."""
        writer = self._writer or self._open()
        offset, number = writer.add_frame(frame, members), len(self.pack_ids)
        for oid, kind, inner, length in members:
            rows = self.pieces if kind in PIECES else self.objects
            rows.add(pack_row(oid, kind, number, offset, len(frame), inner, length))
        if writer.size >= PACK_TARGET:
            self.close_pack()

    def add(self, oid: bytes, kind: int, raw: bytes | memoryview) -> None:
        """Takes one thing in a frame of its own."""
        self.add_frame(pack_frame(raw), [Member(oid, kind, 0, len(raw))])

    def piece_hint(self, oid: bytes) -> Hint | None:
        """Where a piece that was taken lies; in the pack being built: SAME_PACK."""
        return self._hint(oid, self.pieces)

    def object_hint(self, oid: bytes) -> Hint | None:
        """The same for an object: a file that is one chunk has the chunk's id."""
        return self._hint(oid, self.objects)

    def _hint(self, oid: bytes, rows: Rows) -> Hint | None:
        number = rows.number_of.get(oid)
        if number is None:
            return None
        row = read_row(memoryview(rows.data), number * ROW_BYTES)
        built = row.pack == len(self.pack_ids)
        return Hint(row.kind, SAME_PACK if built else self.pack_ids[row.pack], *row[3:])

    def close_pack(self) -> None:
        """Finishes the pack being built and starts sending it."""
        if self._writer is None:
            return
        pack = self._writer.finish()
        self.pack_ids.append(pack)
        self.stored_bytes += self._writer.size
        self._writer = None
        if self._dry_run:
            self._put_back(self._buffer)
            return
        while len(self._sending) >= self._limit:
            self._sending.popleft().result()
        self._sending.append(self._pool.submit(self._send, pack, self._buffer))

    def drain(self, tell: Callable[[], None] | None = None) -> None:
        """Waits until every closed pack is stored; `tell` hears of each."""
        while self._sending:
            self._sending.popleft().result()
            if tell is not None:
                tell()

    def wait(self, timeout_s: float) -> None:
        """Waits a moment for packs that may be about to arrive."""
        wait(self._sending, timeout_s)

    def stop(self) -> None:
        """Ends the threads; what is still waiting is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _open(self) -> PackWriter:
        self._buffer = self._unused.pop() if self._unused else _PackBuffer()
        self._writer = PackWriter(self._buffer, self._content, self._epoch)
        return self._writer

    def _send(self, pack: bytes, buffer: _PackBuffer) -> None:
        view = buffer.view()
        self._backend.write(pack_name(pack), view)
        self.sent[pack] = len(view)
        try:
            view.release()
        except BufferError:  # of a request that was given up and made again, something is left,
            return  # which may still be sending: its memory is not used again
        self._put_back(buffer)

    def _put_back(self, buffer: _PackBuffer) -> None:
        buffer.clear()
        if not buffer.has_grown:
            self._unused.append(buffer)
