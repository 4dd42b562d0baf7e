"""Names that no tracked file or folder may have: those that some file system takes for git's own.

Owns that list. A repository is checked out on other machines than it was made on: macOS passes
over some code points (CVE-2014-9390), Windows over dots and spaces at the end, over what follows a
colon, and it has short names (CVE-2019-1352, CVE-2019-1353).
"""

from __future__ import annotations

import re

_OWN = frozenset((b".git", b"git~1", b".dvlite", b"dvlite~1"))
# What HFS+ does not see in a name, as git lists it (utf8.c, next_hfs_char), in UTF-8.
_UNSEEN = re.compile(
    b"\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf"  # U+200C-F, U+202A-E, U+206A-F
)
# Names joined by NUL among which none is reserved, found in one pass.
MAY_BE_RESERVED = re.compile(rb"(?i)\.git|git~1|\.dvlite|dvlite~1|\xe2\x80|\xe2\x81|\xef\xbb\xbf")


def is_reserved(name: bytes) -> bool:
    """Whether a name is git's or dvlite's own folder, somewhere."""
    if MAY_BE_RESERVED.search(name) is None:
        return False
    seen = _UNSEEN.sub(b"", name).partition(b":")[0].rstrip(b" .").lower()
    return seen in _OWN


def any_reserved(joined: bytes) -> bytes | None:
    """The first reserved one of names that are joined by NUL; None where there is none."""
    if MAY_BE_RESERVED.search(joined) is None:
        return None
    return next((name for name in joined.split(b"\0") if is_reserved(name)), None)
