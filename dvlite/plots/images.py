"""Images as plots: which bytes are one, and how a page shows them without a request.

Owns that the type is what the bytes say, not the name, and that an SVG from a repository never
becomes part of the page: it goes into `<img>`, where browsers run no script and load nothing.
"""

from __future__ import annotations

import base64
import re

from dvlite.errors import CorruptError

SUFFIXES = (".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp")
# As base64 these are 11 MB of the page each.
MAX_IMAGE_BYTES = 8 << 20
_SVG = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--.{0,2000}?-->\s*|<!DOCTYPE svg"
    rb"[^>\[]{0,300}>\s*){0,5}<svg[\s>]",
    re.DOTALL,
)


def is_image(path: str) -> bool:
    """Whether a file's name promises an image."""
    return path.lower().endswith(SUFFIXES)


def type_of(data: bytes) -> str | None:
    """What the bytes are, as a media type; None where they are no image that browsers show."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/svg+xml" if _SVG.match(data[:8192]) else None


def data_uri(data: bytes, path: str) -> str:
    """The image as a `data:` URI.

    Raises:
        CorruptError: no image, or too large for a page.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise CorruptError(
            f"{path} is larger than {MAX_IMAGE_BYTES >> 20} MiB, too large for a page",
            "save it smaller, or as a JPEG or WebP",
        )
    kind = type_of(data)
    if kind is None:
        raise CorruptError(f"{path} is no PNG, JPEG, SVG, GIF or WebP image, whatever its name")
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
