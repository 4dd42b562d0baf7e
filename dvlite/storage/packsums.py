"""Which checksum goes to an S3 store beside a pack, for the store to compare with what arrived.

Owns the question whether a store compares a CRC-64. SHA-256 is what every store compares, as it is
part of the signature; it costs both sides 0.5 s for each GB, and 2.5 s on processors without
instructions for it. CRC-64 (NVME), which AWS's own tools use, costs a tenth, and finds the same
accidents. But a store that does not know its header ignores it, and would store a flipped bit. So a
store is told a wrong one first: only where it refuses that, packs go with a CRC-64. What is small
goes with SHA-256 always.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dvlite.errors import DvliteError
from dvlite.storage.backend import TransientError
from dvlite.storage.objectstore import NotAsSent, ObjectStore, Place, Stores

# From how many bytes of packs on, written by a process, a store is asked: with less than two full
# packs, a request costs more than it saves.
ASK_FROM = 40 << 20
# Where a store that takes everything puts what it was asked with. Such names may be deleted.
_ASKED_NAME = "tmp/checksum"
_ASKED = b"Does this store compare checksums?"
# Not the checksum of these bytes.
WRONG = {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}


class PackSums:
    """The store through which packs go with a CRC-64 beside them.

    `make`: makes it. `make_wrong`: makes one that sends a wrong checksum with everything; None
    where the store is known to compare them.
    """

    def __init__(
        self, make: Callable[[], Any], make_wrong: Callable[[], ObjectStore] | None
    ) -> None:
        self._make, self._make_wrong = make, make_wrong
        self._lock = threading.Lock()
        self._bytes = 0
        self._is_open = True
        self._store: Any = None

    def store(self, usual: ObjectStore, size: int) -> Any:
        """The store for the next pack of so many bytes; None where it is to go as everything
        does, to `usual`."""
        with self._lock:
            self._bytes += size
            if self._store is not None or not self._is_open:
                return self._store
            if self._make_wrong is not None and self._bytes < ASK_FROM:
                return None
            self._is_open = False  # the other threads go on while this one asks
        if self._make_wrong is None or _refuses(self._make_wrong(), usual):
            self._store = self._make()
        return self._store

    def give_up(self) -> None:
        """Says that the store does not take packs so."""
        self._store = None


def _refuses(wrong: ObjectStore, usual: ObjectStore) -> bool:
    """Whether a store refuses bytes that do not match the checksum beside them."""
    try:
        wrong.write(_ASKED_NAME, _ASKED)
    except NotAsSent:
        return True
    except DvliteError:
        return False
    with suppress(DvliteError):  # those who push may not be allowed to delete
        usual.delete(_ASKED_NAME)
    return False


class S3ObjectStore(ObjectStore):
    """A bucket of a store that speaks S3, through obstore. See Backend for what the methods do."""

    def __init__(self, url: str, place: Place, stores: Stores, sums: PackSums | None) -> None:
        super().__init__(url, place, stores)
        self._sums = sums

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""
        if self._sums is None or not name.startswith("packs/"):
            return super().write(name, data)
        store = self._sums.store(self, len(data))
        if store is not None:
            try:
                return self._put(store, name, data)
            except NotAsSent:  # a bit was flipped, or the store counts in another way
                self._sums.give_up()
            except TransientError:
                raise
            except DvliteError:  # a bucket's rules may want the bodies in the signatures
                self._sums.give_up()
        return super().write(name, data)
