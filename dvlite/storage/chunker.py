"""Where a large file is cut: FastCDC with parameters that are part of the remote's format.

Two FastCDC packages cut the same bytes at different places, so the cuts are pinned by golden
tests; a remote names these parameters in its `dvlite.json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from pyfastcdc import FastCDC

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

# Read this much at once: far more than one chunk, little next to the memory limit.
_BUFFER = 4 << 20


def cut(stream: BinaryIO) -> Iterator[memoryview]:
    """The chunks of a stream, in order. Each view is valid until the next one is asked for."""
    chunker = FastCDC(
        AVERAGE_CHUNK,
        min_size=MIN_CHUNK,
        max_size=MAX_CHUNK,
        normalized_chunking=NORMALIZATION,
        seed=SEED,
    )
    rest = b""
    while True:
        block = stream.read(_BUFFER)
        buffer = memoryview(rest + block if rest else block)
        keep = 0 if not block else MAX_CHUNK
        start = 0
        for chunk in chunker.cut_buf(buffer):
            # A cut nearer to the end than the longest chunk could still move with more bytes.
            if len(buffer) - start < keep:
                break
            yield buffer[start : start + chunk.length]
            start += chunk.length
        rest = bytes(buffer[start:])
        if not block:
            return
