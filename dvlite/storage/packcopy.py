"""Copying packs from one remote to another: several at once, each held to its name on the way.

Owns what of a pack may go under which name. A pack that gc has condemned on the target gets
another one, by the epoch in its head: a condemned name never comes back. Whatever does not hash
to its name is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from blake3 import blake3

from dvlite.errors import CorruptError
from dvlite.storage.backend import Backend, NotThere
from dvlite.storage.pack import HEAD, check_head, encode_head, read_pack_rows
from dvlite.storage.ranges import RANGE_BYTES
from dvlite.storage.remote import pack_name
from dvlite.storage.several import several

# Packs are closed at 32 MiB, and one frame more is at most 64: what is larger is nobody's pack.
MAX_COPIED_BYTES = 128 << 20
# Of packs in memory at a time, whatever the number of jobs.
_MEMORY_BYTES = 256 << 20


class Copied(NamedTuple):
    """What became of a pack: its name on the target, or why it has none."""

    pack: bytes
    size: int
    target: bytes | None
    problem: str = ""
    missing: bool = False


@dataclass(frozen=True, slots=True)
class PackRoute:
    """Where packs come from and go to. `epoch`, `condemned`: of the target."""

    source: Backend
    target: Backend
    epoch: int
    condemned: frozenset[bytes] | set[bytes]


def copy_packs(
    route: PackRoute,
    sizes: Mapping[bytes, int],
    wanted: Iterable[bytes],
    jobs: int,
    tell: Callable[[int], None],
) -> Iterator[Copied]:
    """Copies packs; `tell` hears of all bytes read. What cannot be copied does not stop the rest.

    Raises:
        RemoteError: a remote fails; what arrived counts.
    """
    order = sorted(wanted)
    largest = max((min(sizes[pack], MAX_COPIED_BYTES) for pack in order), default=0)
    at_once = max(1, min(jobs, _MEMORY_BYTES // max(1, largest)))

    def copy(pack: bytes) -> Copied:
        return _copy(route, pack, sizes[pack], tell)

    for _, copied in several(copy, order, at_once):
        yield copied


def _copy(route: PackRoute, pack: bytes, size: int, tell: Callable[[int], None]) -> Copied:
    if size > MAX_COPIED_BYTES:
        return Copied(pack, size, None, f"has {size} bytes, more than a pack can have")
    try:
        data = _read_right(route.source, pack, size, tell)
        if data is None:
            return Copied(pack, size, None, "damaged: its bytes are not what it is named")
        _, epoch = check_head(bytes(data[: HEAD.size]))
        read_pack_rows(memoryview(data))
    except NotThere:
        return Copied(pack, size, None, "missing", missing=True)
    except CorruptError as error:
        return Copied(pack, size, None, f"written wrongly: {error}")
    name = pack
    if pack in route.condemned:
        name = _rename(data, route.epoch)
        if name in route.condemned:
            return Copied(pack, size, None, f"condemned by gc in epoch {epoch}, which is not over")
    route.target.write(pack_name(name), memoryview(data))
    return Copied(pack, size, name)


def _read_right(
    source: Backend, pack: bytes, size: int, tell: Callable[[int], None]
) -> bytearray | None:
    """The bytes of a pack; None where they are wrong twice: once may have been the line."""
    for again in (False, True):
        data, offset = bytearray(size), 0
        hasher = blake3()
        while offset < size:
            part = source.read_view(pack_name(pack), offset, min(RANGE_BYTES, size - offset))
            if not part:
                break
            hasher.update(part)
            data[offset : offset + len(part)] = part
            offset += len(part)
            if not again:
                tell(len(part))
        if hasher.digest() == pack:
            return data
    return None


def _rename(data: bytearray, epoch: int) -> bytes:
    """The name of a pack that says in its head that it is of this epoch."""
    content, _ = check_head(bytes(data[: HEAD.size]))
    data[: HEAD.size] = encode_head(content, epoch)
    return blake3(data).digest()
