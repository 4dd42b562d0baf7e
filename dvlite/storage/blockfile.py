"""A new large file whose parts come in any order, mostly from front to back.

Owns the block buffers: parts are gathered into blocks, which go to the disk directly and into the
hash while they are in memory. Written part by part through the page cache, synced and read again
for its hash, 2 GB cost 1.8 s of system time and 1.2 s of waiting at the end. A second file may get
the same bytes from the same buffers.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dvlite.storage.directio import DirectSource, page_buffers
from dvlite.storage.oid import file_hasher

_BLOCK = 4 << 20
_PAGE = 4096
_DIRECT = getattr(os, "O_DIRECT", 0)
# Blocks in memory at a time: what four readers fill at once, and some that wait for their turn
# to be hashed. Parts of further blocks are written as they come.
_BLOCKS = 16


@dataclass(slots=True)
class _Block:
    """One that is being filled. `view` is None when its parts are written as they come."""

    view: memoryview | None
    filled: int = 0


class BlockFile:
    """A new file of known size; `path` must not exist. Any thread may write.

    Every byte is to be written once: blocks are hashed as they were first full, so one that is
    written again, as a recipe on a hostile remote can make it, would not be what was verified. A
    file in which that was tried has no hash.

    `copy`: two descriptors of another new file for the same bytes, the second for direct writing
    (-1: none); they are closed with this one. What goes wrong with the copy ends the copy alone:
    `has_copy` is False then.
    """

    def __init__(self, path: str, size: int, copy: tuple[int, int] = (-1, -1)) -> None:
        self.size = size
        self._copy = _Disk(*copy, size) if copy[0] >= 0 else None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            self._drop_copy()
            raise
        self.descriptor = descriptor
        self._disk = _Disk(descriptor, _open_directly(path), size)
        self._free = list(page_buffers(min(_BLOCKS, -(-size // _BLOCK)), _BLOCK))
        self._open: dict[int, _Block] = {}
        # full ones that are not hashed yet: in memory, and those that are in the file alone
        self._waiting: dict[int, memoryview] = {}
        self._written: set[int] = set()
        self._source = DirectSource(descriptor)
        self._lock = threading.Lock()
        self._hasher = file_hasher()
        self._hashed = 0
        self._is_hashing = False
        self._full: set[int] = set()
        self._overlaps = False

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Puts bytes at their place."""
        view = memoryview(data)
        while view:
            number, inner = divmod(offset, _BLOCK)
            count = min(len(view), _BLOCK - inner)
            block = self._block(number)
            if block is None:
                return
            if block.view is None:
                self._write_part(view[:count], offset)
            else:
                block.view[inner : inner + count] = view[:count]
            self._filled(number, block, count)
            view, offset = view[count:], offset + count

    def place(self, offset: int, length: int) -> memoryview | None:
        """Where in memory bytes belong that `placed` follows for, once they are there. None where
        they belong to no single block in memory: they are to be written."""
        number, inner = divmod(offset, _BLOCK)
        block = self._block(number) if inner + length <= _BLOCK else None
        if block is None or block.view is None:
            return None
        return block.view[inner : inner + length]

    def placed(self, offset: int, length: int) -> None:
        """Says that all the bytes of a place are there."""
        number = offset // _BLOCK
        block = self._open.get(number)
        if block is None:  # others made it full: its memory may be another block's by now
            self._overlaps = True
        else:
            self._filled(number, block, length)

    def write_from(
        self, source: DirectSource, source_offset: int, length: int, offset: int
    ) -> bool:
        """Puts bytes of an open file at their place, read to where they belong; False where that
        file ends before, and then this one is of no use any more."""
        while length:
            number, inner = divmod(offset, _BLOCK)
            count = min(length, _BLOCK - inner)
            block = self._block(number)
            if block is None:
                return True  # it has no hash, which says so
            view = block.view[inner : inner + count] if block.view else memoryview(bytearray(count))
            if source.read(view, source_offset) < count:
                return False
            if block.view is None:
                self._write_part(view, offset)
            self._filled(number, block, count)
            length, offset, source_offset = length - count, offset + count, source_offset + count
        return True

    @property
    def has_copy(self) -> bool:
        """Whether all that was written is in the copy too."""
        return self._copy is not None and not self._copy.failed

    def finish(self) -> bytes:
        """The hash of the whole, when all its bytes are there; b"" where some were written twice.
        Nothing is synced yet."""
        if self._overlaps:
            return b""
        return self._hasher.digest()

    def close(self) -> None:
        """Closes the file."""
        self._source.close()
        self._disk.close()
        self._drop_copy()
        self._free.clear()
        self._open.clear()
        self._waiting.clear()

    def _block(self, number: int) -> _Block | None:
        """The block to write into; None where it is full, or behind the end."""
        with self._lock:
            if number in self._full or number * _BLOCK >= self.size:
                self._overlaps = True
                return None
            block = self._open.get(number)
            if block is None:
                view = self._free.pop() if self._free else None
                block = self._open[number] = _Block(view)
            return block

    def _filled(self, number: int, block: _Block, count: int) -> None:
        """Counts what is in a block now; one that is full is written and hashed."""
        with self._lock:
            block.filled += count
            if block.filled < self._length(number):
                return
            if block.filled > self._length(number):
                self._overlaps = True
                return
            del self._open[number]
            self._full.add(number)
        if block.view is not None:
            self._write_block(number, block.view)
        self._hash(number, block.view)

    def _length(self, number: int) -> int:
        return min(_BLOCK, self.size - number * _BLOCK)

    def _hash(self, number: int, view: memoryview | None) -> None:
        """Hashes the blocks whose turn it is, in one thread at a time while others go on. Those
        that wait for theirs give up their memory where others have none, and are read again."""
        with self._lock:
            if view is None:
                self._written.add(number)
            else:
                self._waiting[number] = view
            if self._is_hashing:
                return
            self._is_hashing = True
        while self._hash_next():
            pass

    def _hash_next(self) -> bool:
        """Hashes one block; False where that of the next turn is not there yet."""
        number = self._hashed
        with self._lock:
            view = self._waiting.pop(number, None)
            if view is None and number not in self._written:
                self._is_hashing = False
                if not self._free:
                    self._written.update(self._waiting)
                    self._free += self._waiting.values()
                    self._waiting.clear()
                return False
        length = self._length(number)
        if view is not None:
            self._hasher.update(view[:length])
        else:
            again = memoryview(bytearray(length))
            self._hasher.update(again[: self._source.read(again, number * _BLOCK)])
        with self._lock:
            self._hashed = number + 1
            self._written.discard(number)
            if view is not None:
                self._free.append(view)
        return True

    def _write_block(self, number: int, view: memoryview) -> None:
        length, offset = self._length(number), number * _BLOCK
        self._disk.write_block(view, length, offset)
        if self._copy is not None and not self._copy.failed:
            with self._copy.trying():
                self._copy.write_block(view, length, offset)

    def _write_part(self, part: memoryview, offset: int) -> None:
        _write(self._disk.descriptor, part, offset)
        if self._copy is not None and not self._copy.failed:
            with self._copy.trying():
                _write(self._copy.descriptor, part, offset)

    def _drop_copy(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None


@dataclass(slots=True)
class _Disk:
    """An open file; `direct`: the same for direct writing, or -1."""

    descriptor: int
    direct: int
    size: int
    failed: bool = False

    @contextmanager
    def trying(self) -> Iterator[None]:
        """What cannot be written is remembered and no error."""
        try:
            yield
        except OSError:
            self.failed = True

    def write_block(self, view: memoryview, length: int, offset: int) -> None:
        """Writes a block directly, in whole pages; what is too much is cut off again."""
        if self.direct >= 0:
            try:
                _write(self.direct, view[: -(-length // _PAGE) * _PAGE], offset)
            except OSError as error:
                if error.errno != errno.EINVAL:  # this file system cannot after all
                    raise
            else:
                if length % _PAGE:
                    os.ftruncate(self.descriptor, self.size)
                return
        _write(self.descriptor, view[:length], offset)

    def close(self) -> None:
        """Closes it."""
        os.close(self.descriptor)
        if self.direct >= 0:
            os.close(self.direct)


def _open_directly(path: str) -> int:
    """A second descriptor for direct writes; -1 where the file system refuses it."""
    if not _DIRECT:
        return -1
    try:
        return os.open(path, os.O_WRONLY | _DIRECT | os.O_CLOEXEC)
    except OSError:
        return -1


def _write(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
