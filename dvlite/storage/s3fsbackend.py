"""A remote on S3 through s3fs, whose uploads the server compares with a checksum.

Owns that checksum: s3fs sends none by itself, and a bit that was flipped on the way was stored.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5
from typing import Any

from dvlite.errors import RemoteError
from dvlite.storage.backend import TransientError
from dvlite.storage.fsspecbackend import FsspecBackend
from dvlite.storage.objectstore import PASSING_CODES

# s3fs sends what is larger in parts, whose checksums would be others; a pack is 32 MB.
_ONE_PART = 64 << 20


class S3fsBackend(FsspecBackend):
    """S3 through s3fs. See Backend for what the methods do."""

    def _pipe(self, path: str, data: bytes, **how: Any) -> None:
        # Content-MD5 guards against accidents; every store that speaks S3 knows it
        digest = b64encode(md5(data, usedforsecurity=False).digest()).decode()
        super()._pipe(path, data, chunksize=_ONE_PART, ContentMD5=digest, **how)

    def _translated(self, name: str, error: Exception) -> RemoteError | None:
        found = super()._translated(name, error)
        # s3fs calls what was damaged on the way an invalid argument
        answer = getattr(error.__cause__, "response", None) or {}
        if found is not None and answer.get("Error", {}).get("Code") in PASSING_CODES:
            return TransientError(str(found))
        return found
