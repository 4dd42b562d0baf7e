"""Content under the names that other tools give it: md5 (DVC), SHA-256 (git-lfs).

Owns whether bytes are what such a name says. While they are read for their oid they are hashed a
second time; what does not fit its name is not taken.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dvlite.errors import CorruptError

if TYPE_CHECKING:
    from typing_extensions import Buffer

Algorithm = Literal["md5", "md5-dos2unix", "sha256"]
_LENGTHS = {"md5": 32, "md5-dos2unix": 32, "sha256": 64}
_HEX = re.compile(r"[0-9a-f]+\Z")

# How DVC decides: dvc_data/hashfile/istextfile.py, and hash.py for the length of what it reads.
_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"
_LOOKED_AT = 512
_DVC_BLOCK = 1 << 20


class Check(Protocol):
    """Takes a file's bytes and tells whether they are what the name says."""

    def update(self, data: Buffer) -> None:
        """Takes the next bytes."""

    def fits(self, digest: str) -> bool:
        """Whether everything taken has this digest, in hexadecimal. To be asked once."""


def checking(algorithm: Algorithm) -> Check:
    """What compares content with names of that kind."""
    if algorithm == "md5-dos2unix":
        return _Dos2Unix()
    return _Plain(algorithm)


def check_digest(algorithm: Algorithm, text: str) -> str:
    """A digest in the form that such names have.

    Raises:
        CorruptError: any other form, which might be a path.
    """
    if len(text) != _LENGTHS[algorithm] or not _HEX.match(text):
        raise CorruptError(f"not a digest of {algorithm}: {text[:80]!r}")
    return text


class _Plain:
    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, data: Buffer) -> None:
        """Takes the next bytes."""
        self._hash.update(data)

    def fits(self, digest: str) -> bool:
        """Whether that is the hash of what came."""
        return bool(self._hash.hexdigest() == digest)


class _Dos2Unix:
    """DVC before 3.0 hashed text as if its lines ended with LF. Whether it is text was decided for
    the file by its beginning, by later versions of it for each MiB; some files have the plain md5.
    The hashes differ from the first CRLF on, and until then are one.
    """

    def __init__(self) -> None:
        self._plain = hashlib.md5(usedforsecurity=False)
        self._by_block: Any = None
        self._by_file: Any = None
        self._file_is_text: bool | None = None
        self._left = bytearray()

    def update(self, data: Buffer) -> None:
        """Takes the next bytes."""
        view = memoryview(data).cast("B")
        if not self._left and len(view) % _DVC_BLOCK == 0:
            for start in range(0, len(view), _DVC_BLOCK):
                self._take(bytes(view[start : start + _DVC_BLOCK]))
            return
        self._left += view
        while len(self._left) >= _DVC_BLOCK:
            self._take(bytes(self._left[:_DVC_BLOCK]))
            del self._left[:_DVC_BLOCK]

    def fits(self, digest: str) -> bool:
        """Whether that is the hash of what came."""
        if self._left:
            self._take(bytes(self._left))
            self._left.clear()
        hashes = (self._plain, self._by_block, self._by_file)
        return any(one is not None and one.hexdigest() == digest for one in hashes)

    def _take(self, block: bytes) -> None:
        is_text = _is_text(block[:_LOOKED_AT])
        if self._file_is_text is None:
            self._file_is_text = is_text
        if self._by_block is None and b"\r\n" in block and (is_text or self._file_is_text):
            self._by_block, self._by_file = self._plain.copy(), self._plain.copy()
        self._plain.update(block)
        if self._by_block is not None:
            unix = block.replace(b"\r\n", b"\n")
            self._by_block.update(unix if is_text else block)
            self._by_file.update(unix if self._file_is_text else block)


def _is_text(block: bytes) -> bool:
    if b"\0" in block:
        return False
    return not block or len(block.translate(None, _TEXT)) / len(block) <= 0.30
