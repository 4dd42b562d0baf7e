"""A pack of a cache: its mapped index, and its file, opened when it is first read."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

from dvlite.errors import CorruptError
from dvlite.storage.segment import Segment, open_bytes


@dataclass(slots=True)
class LocalPack:
    """One pack of the cache and its mapped index. The pack's file is opened when first read.
    `found`: how much of what was asked last it had."""

    path: str
    segment: Segment
    descriptor: int = -1
    found: int = 0

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the pack file."""
        if self.descriptor < 0:
            self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(self.descriptor, length, offset)
        if len(data) != length:
            raise CorruptError(f"the cache's pack {self.path} is cut short")
        return data


def map_index(path: str) -> Segment:
    """An index of a pack, mapped.

    Raises:
        FileNotFoundError: there is none. CorruptError: it is damaged.
    """
    try:
        with open(path, "rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return open_bytes(memoryview(mapped))
    except (CorruptError, ValueError) as error:  # an empty file cannot be mapped
        raise CorruptError(
            f"the cache's index {path} is damaged: {error}",
            "rebuild it: dvlite fsck --repair",
        ) from error
