"""Where a large file is cut: FastCDC with parameters that are part of the remote's format.

Two FastCDC packages cut the same bytes at different places, so the cuts are pinned by golden
tests; a remote names these parameters in its `dvlite.json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from pyfastcdc import FastCDC

from dvlite.storage.directio import page_buffers

# An object below this is stored whole, in a frame with its neighbours; from here on it is cut.
# Twice the average chunk: cutting something smaller would save nothing.
SMALL_BYTES = 128 << 10
# 64 KiB on average: 0.6 % of a table of 870 MB is new after 60 edits, and 20 GB have a recipe
# of 18 MB. Normalised chunking (level 2) keeps most chunks near the average.
MIN_CHUNK = 16 << 10
AVERAGE_CHUNK = 64 << 10
MAX_CHUNK = 256 << 10
NORMALIZATION: Final = 2
SEED = 0
PARAMETERS = {
    "algorithm": "fastcdc-2020",
    "average": AVERAGE_CHUNK,
    "maximum": MAX_CHUNK,
    "minimum": MIN_CHUNK,
    "normalization": NORMALIZATION,
    "seed": SEED,
}

# Two buffers of this: one is read while the other is cut. It holds 128 chunks on average.
_BUFFER = 8 << 20


class Readable(Protocol):
    """What can be cut."""

    def readinto(self, view: memoryview, /) -> int | None:
        """Fills some of `view`; how much, 0 only at the end."""
        ...


def cut(stream: Readable) -> Iterator[list[memoryview]]:
    """The chunks of a stream in order, some at a time; another thread reads ahead meanwhile.

    The views are valid until the next ones are asked for.
    """
    chunker = FastCDC(
        AVERAGE_CHUNK,
        min_size=MIN_CHUNK,
        max_size=MAX_CHUNK,
        normalized_chunking=NORMALIZATION,
        seed=SEED,
    )
    # Less than one chunk is left over of each buffer: it goes in front of the next one's bytes.
    buffer, following = page_buffers(2, MAX_CHUNK + _BUFFER)
    start = MAX_CHUNK
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_fill, stream, buffer[MAX_CHUNK:])
        while True:
            count = reading.result()
            if count:
                reading = pool.submit(_fill, stream, following[MAX_CHUNK:])
            data = buffer[start : MAX_CHUNK + count]
            chunks, done = [], 0
            for chunk in chunker.cut_buf(data):
                # A cut nearer to the end than the longest chunk could still move.
                if count and len(data) - done < MAX_CHUNK:
                    break
                chunks.append(data[done : done + chunk.length])
                done += chunk.length
            if chunks:
                yield chunks
            if not count:
                return
            start = MAX_CHUNK - len(data) + done
            following[start:MAX_CHUNK] = data[done:]
            buffer, following = following, buffer


def _fill(stream: Readable, view: memoryview) -> int:
    done = 0
    while done < len(view) and (count := stream.readinto(view[done:])):
        done += count
    return done
