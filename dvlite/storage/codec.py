"""Frames: one compressed unit inside a pack, with a head that says how to undo it.

Owns the frame's bytes, the choice whether compression pays, and bounded decompression. The
checksum guards against accidents; forgery is caught by the ids of what is inside.

Layout (little-endian, 32 bytes, then the stored bytes):
    u8 codec (0 stored, 1 zstd, 2 planes), u8 key id (0: not encrypted), u16 and u32 zero,
    u64 stored length, u64 raw length, u64 XXH3-64 of the stored bytes.
Planes: u8 width w, 3 zero bytes, w times u32 length; then w planes. Plane i holds every w-th raw
byte from the i-th on, as it is when its length is its size, else as zstd.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING

import zstandard
from xxhash import xxh3_64_intdigest

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.planes import join, join_into, size_of, split

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEAD = struct.Struct("<BBHIQQQ")
_STORED, _ZSTD, _PLANES = 0, 1, 2
# Of 2-byte floats and of 4-byte ones.
WIDTHS = (2, 4)
_PLANES_HEAD = {2: struct.Struct("<B3x2I"), 4: struct.Struct("<B3x4I")}

# Several small objects share a frame of about this many raw bytes: label files compress 1.6
# times better together than alone, and reading one object never decompresses more than this.
FRAME_TARGET = 64 << 10
# The largest thing in one frame is a tree or a recipe part; more than this is an attack.
MAX_RAW_BYTES = 64 << 20
# Level 1 compresses JSON at 540 MB/s a core to within 8 % of level 6, which does 80 MB/s.
_LEVEL = 1
# Compression must save a 32nd, or reading pays for nothing.
_WORTH = 32

_local = threading.local()


def pack_frame(raw: bytes | memoryview, width: int = 1) -> bytes:
    """One frame holding `raw`, compressed when that pays; in planes when `width` is 2 or 4."""
    raw_length = len(raw)
    codec = _ZSTD if width == 1 else _PLANES
    stored = b""
    if raw_length:
        stored = _compressor().compress(raw) if width == 1 else _planes(raw, width)
    if len(stored) > raw_length - raw_length // _WORTH - 1:
        codec, stored = _STORED, bytes(raw)
    return HEAD.pack(codec, 0, 0, 0, len(stored), raw_length, xxh3_64_intdigest(stored)) + stored


def best_width(raw: bytes | memoryview) -> int:
    """With which width bytes like these become smallest: 2 or 4 for tensors, else 1.

    The exponents of neighbouring floats are alike, their mantissas are noise. Mixed, both cost
    their average; apart, the exponents compress and the noise is stored: float16 weights shrink
    to 84 % instead of 92, bfloat16 to 69 instead of 78, float32 to 85 instead of 93, at twice
    the speed (packing) and four times (unpacking). See ZipNN, arXiv:2411.05239.
    """
    best, least = 1, len(pack_frame(raw))
    for width in WIDTHS:  # more planes must pay again
        size = len(pack_frame(raw, width))
        if size * _WORTH < least * (_WORTH - 1):
            best, least = width, size
    return best


def _planes(raw: bytes | memoryview, width: int) -> bytes:
    planes: list[bytes | memoryview] = []
    for plane in split(raw, width):
        size, packed = len(plane), _compressor().compress(plane)
        planes.append(packed if len(packed) < size - size // _WORTH else plane)
    return b"".join([_PLANES_HEAD[width].pack(width, *map(len, planes)), *planes])


def unpack_frame(frame: Buffer, max_raw_bytes: int = MAX_RAW_BYTES) -> bytes:
    """The raw bytes of a frame.

    Raises:
        CorruptError: damaged, or larger than `max_raw_bytes` (checked before decompressing).
        FormatVersionError: a codec that this dvlite does not know.
    """
    raw = unpack_view(frame, max_raw_bytes)
    return raw.obj if isinstance(raw.obj, bytes) and len(raw.obj) == len(raw) else bytes(raw)


def unpack_view(frame: Buffer, max_raw_bytes: int = MAX_RAW_BYTES) -> memoryview:
    """The raw bytes of a frame, not copied where that can be saved. See `unpack_frame`."""
    codec, stored, raw_length = _opened(frame, max_raw_bytes)
    if codec == _PLANES:
        return join(_planes_of(stored, raw_length), raw_length)
    return _whole(codec, stored, raw_length)


def unpack_into(frame: Buffer, target: memoryview) -> bool:
    """Writes the raw bytes of a frame to `target`; False where it has another length. Nothing is
    written then, nor when it raises. See `unpack_frame`."""
    codec, stored, raw_length = _opened(frame, MAX_RAW_BYTES)
    if raw_length != len(target):
        return False
    if codec == _PLANES:
        join_into(_planes_of(stored, raw_length), target)
    else:
        target[:] = _whole(codec, stored, raw_length)
    return True


def _opened(frame: Buffer, max_raw_bytes: int) -> tuple[int, memoryview, int]:
    """Codec, stored bytes and raw length of a frame whose checksum is right."""
    view = memoryview(frame)
    if len(view) < HEAD.size:
        raise CorruptError("a frame is shorter than its head")
    codec, key, zero16, zero32, stored_length, raw_length, checksum = HEAD.unpack_from(view)
    if codec not in (_STORED, _ZSTD, _PLANES) or key:
        raise FormatVersionError(
            f"a frame uses codec {codec}, key {key}, which this dvlite does not know",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    stored = view[HEAD.size :]
    if zero16 or zero32 or stored_length != len(stored) or raw_length > max_raw_bytes:
        raise CorruptError("a frame's head does not fit its bytes")
    if xxh3_64_intdigest(stored) != checksum:
        raise CorruptError("a frame's checksum does not match its bytes")
    return codec, stored, raw_length


def check_frame(frame: Buffer) -> int:
    """Checks a frame's checksum without undoing it; returns its raw length.

    Raises:
        CorruptError: damaged.
    """
    view = memoryview(frame)
    if len(view) < HEAD.size:
        raise CorruptError("a frame is shorter than its head")
    *_, stored_length, raw_length, checksum = HEAD.unpack_from(view)
    stored = view[HEAD.size :]
    if stored_length != len(stored) or xxh3_64_intdigest(stored) != checksum:
        raise CorruptError("a frame's checksum does not match its bytes")
    return int(raw_length)


def _whole(codec: int, stored: memoryview, raw_length: int) -> memoryview:
    """The raw bytes of what is not in planes."""
    raw = stored if codec == _STORED else memoryview(_decompress(stored, raw_length))
    if len(raw) != raw_length:
        raise CorruptError("a frame does not hold as many bytes as it says")
    return raw


def _planes_of(stored: memoryview, raw_length: int) -> list[bytes | memoryview]:
    head = _PLANES_HEAD.get(stored[0] if stored else 0)
    if head is None or len(stored) < head.size:
        raise CorruptError("a frame of planes does not say how many")
    width, *lengths = head.unpack_from(stored)
    if head.size + sum(lengths) != len(stored) or any(stored[1:4]):
        raise CorruptError("the planes of a frame do not fit its bytes")
    planes: list[bytes | memoryview] = []
    at = head.size
    for first, length in enumerate(lengths):
        size = size_of(raw_length, width, first)
        plane = stored[at : at + length]
        planes.append(plane if length == size else _decompress(plane, size))
        at += length
    return planes


def _decompress(stored: memoryview, raw_length: int) -> bytes:
    try:
        if zstandard.frame_content_size(stored) != raw_length:
            raise CorruptError("a compressed frame's size is not what its head says")
        raw = _decompressor().decompress(stored, max_output_size=raw_length, allow_extra_data=False)
        if len(raw) != raw_length:
            raise CorruptError("a frame does not hold as many bytes as it says")
        return raw
    except zstandard.ZstdError as error:
        raise CorruptError(f"a frame cannot be decompressed: {error}") from error


def _compressor() -> zstandard.ZstdCompressor:
    """One a thread: the contexts are not thread-safe and cost 60 us to make."""
    try:
        return _local.compressor  # type: ignore[no-any-return]
    except AttributeError:
        _local.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
        return _local.compressor  # type: ignore[no-any-return]


def _decompressor() -> zstandard.ZstdDecompressor:
    try:
        return _local.decompressor  # type: ignore[no-any-return]
    except AttributeError:
        _local.decompressor = zstandard.ZstdDecompressor()
        return _local.decompressor  # type: ignore[no-any-return]
