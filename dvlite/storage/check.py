"""Checking a remote: is everything that its index names there, and is it what it has to be?

Owns the order of the looking: names, index, existence of packs, their bytes (a sample, or all),
then what objects need. It changes nothing. Whatever it finds has a name on the remote; which
commits and paths it concerns is told from `broken`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dvlite.errors import CorruptError
from dvlite.progress import Progress, silent
from dvlite.storage.backend import NotThere
from dvlite.storage.closure import Needs, Places, examine_needs
from dvlite.storage.index import Index, mirror_of
from dvlite.storage.inventory import Inventory, Problem, open_whole, take_inventory
from dvlite.storage.packcheck import BadPlaces, failing_rows, hash_pack, stored_rows
from dvlite.storage.remote import NotMade, Remote, pack_name
from dvlite.storage.row import Row, read_rows
from dvlite.storage.several import several

# Without --full: a 50th of all bytes, but what a slow line brings in a minute or so at most, and
# of a small remote most.
_SAMPLE = 50
_SAMPLE_LEAST = 64 << 20
_SAMPLE_MOST = 1 << 30


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How to check. `expected`: objects that have to be there. `packs`: verify just these."""

    full: bool = False
    jobs: int = 4
    progress: Progress = silent
    expected: frozenset[bytes] = frozenset()
    packs: frozenset[bytes] | None = None


@dataclass(slots=True)
class CheckReport:
    """What a check found.

    `damaged`: packs that are there and not as they have to be, with the rows that the index puts
    in them; `lost_index`: packs that only a lost segment can have named; `needs`: None where
    nothing gave reason to look; `unfulfilled`: what clones say they pushed and no segment names.
    """

    inventory: Inventory
    index: Index
    bad: BadPlaces = field(default_factory=BadPlaces)
    damaged: dict[bytes, list[Row]] = field(default_factory=dict)
    unnamed: dict[bytes, int] = field(default_factory=dict)
    damaged_unnamed: set[bytes] = field(default_factory=set)
    lost_index: bool = False
    unfulfilled: set[bytes] = field(default_factory=set)
    needs: Needs | None = None
    verified_packs: int = 0
    verified_bytes: int = 0

    @property
    def problems(self) -> list[Problem]:
        """Damage first, then notes."""
        return sorted(self.inventory.problems, key=lambda one: (not one.damage, one.what, one.name))

    @property
    def clean(self) -> bool:
        """Whether there is no damage."""
        return not any(one.damage for one in self.inventory.problems)

    @property
    def index_is_damaged(self) -> bool:
        """Whether a segment is damaged or lost, and with it what only it named."""
        return bool(self.inventory.bad) or self.lost_index

    @property
    def broken(self) -> set[bytes]:
        """Objects that cannot be had whole."""
        return self.needs.broken if self.needs is not None else set()


def not_whole(report: CheckReport, oids: Iterable[bytes]) -> set[bytes]:
    """Those objects that cannot be had whole. What only a lost tree names is unknown to
    `broken`: it is looked up."""
    wanted = set(oids)
    lacking = Places(report.index, report.bad).lacking(wanted, chunk=False)
    return lacking | (wanted & report.broken)


def check_remote(
    remote: Remote, cache_folder: str, options: CheckOptions | None = None
) -> CheckReport:
    """Looks through a remote.

    Raises:
        NotMade: nothing is there. RemoteError: it cannot be read.
    """
    options = options or CheckOptions()
    inventory = take_inventory(remote, options.jobs)
    if not (inventory.packs or inventory.roots or inventory.bad or inventory.description_is_good):
        raise NotMade(f"there is no dvlite remote at {remote.backend.url}", "dvlite push makes it")
    index = Index(remote, inventory.listing, mirror_of(remote, cache_folder))
    report = CheckReport(inventory, index)
    _look_for_packs(report)
    _verify_packs(report, options)
    _examine_bad(report, options)
    _look_for_lost_index(report, options)
    unclear = bool(report.unnamed) or not report.clean
    if options.full or options.packs is not None or unclear:
        _examine_needs(report, options)
    return report


def claims(report: CheckReport, packs: set[bytes]) -> Iterator[tuple[bytes, Row]]:
    """The rows that the segments in use have in these packs."""
    if not packs:
        return
    for name in report.index.listing.readable:
        segment = open_whole(report.index.remote, name)
        ids = segment.pack_ids()
        numbers = {number for number, pack in enumerate(ids) if pack in packs}
        if not numbers:
            continue
        for table in (segment.chunks, segment.objects):
            for row in read_rows(table.all_rows()):
                if row.pack in numbers:
                    yield ids[row.pack], row


def _look_for_packs(report: CheckReport) -> None:
    """Packs that are missing or too short; packs that nobody names."""
    inventory = report.inventory
    for pack, extent in sorted(inventory.named.items()):
        size = inventory.packs.get(pack)
        if size is None:
            report.bad.absent.add(pack)
            inventory.damage("pack", pack_name(pack), "missing")
        elif size < extent.least_bytes:
            report.damaged[pack] = []
            text = f"has {size} bytes; what the index has in it takes {extent.least_bytes}"
            inventory.damage("pack", pack_name(pack), text)
    unnamed = inventory.packs.keys() - inventory.named.keys()
    report.unnamed = {pack: inventory.packs[pack] for pack in sorted(unnamed)}


def _verify_packs(report: CheckReport, options: CheckOptions) -> None:
    """Reads packs whole and holds them to their names."""
    inventory, backend = report.inventory, report.index.remote.backend
    chosen = _chosen(report, options)
    total = sum(inventory.packs[pack] for pack in chosen)
    done = [0, 0]

    def tell(count: int) -> None:
        done[1] += count
        options.progress("verifying", done[0], done[1], None, total)

    def verify(pack: bytes) -> bool:
        try:
            return hash_pack(backend, pack, inventory.packs[pack], tell) == pack
        except NotThere:
            return False

    for pack, good in several(verify, chosen, options.jobs):
        done[0] += 1
        if good or pack in report.damaged:
            continue
        if pack in report.unnamed:
            report.damaged_unnamed.add(pack)
            inventory.note("pack", pack_name(pack), "damaged; no segment names it")
        else:
            report.damaged[pack] = []
            inventory.damage("pack", pack_name(pack), "damaged: its bytes are not what it is named")
    report.verified_packs, report.verified_bytes = done


def _chosen(report: CheckReport, options: CheckOptions) -> list[bytes]:
    """Which packs to verify: all, those asked for, or those of odd size and a random sample."""
    packs = report.inventory.packs
    if options.full:
        return sorted(packs)
    if options.packs is not None:
        return sorted(options.packs & packs.keys())
    named = report.inventory.named.keys() & packs.keys()
    odd = [one for one in named if packs[one] != report.inventory.named[one].least_bytes]
    limit = sum(packs.values()) // _SAMPLE
    limit = max(_SAMPLE_LEAST, min(limit, _SAMPLE_MOST))
    order = [*sorted(odd), *random.sample(sorted(named), len(named))]
    chosen: dict[bytes, None] = {}
    for pack in order:
        if limit <= 0:
            break
        if pack not in chosen:
            chosen[pack] = None
            limit -= packs[pack]
    return list(chosen)


def _examine_bad(report: CheckReport, options: CheckOptions) -> None:
    """What of the damaged packs is still good."""
    for pack, row in claims(report, set(report.damaged)):
        report.damaged[pack].append(row)
    backend = report.index.remote.backend
    for pack, rows in report.damaged.items():
        for row in failing_rows(backend, pack, rows, options.jobs):
            report.bad.rows.add((pack, row.id, row.kind))


def _look_for_lost_index(report: CheckReport, options: CheckOptions) -> None:
    """Packs without a segment are what an interrupted push leaves; but where a clone finished its
    push of what is in them, a segment is lost."""
    inventory, index = report.inventory, report.index
    promised = set(inventory.recorded | inventory.roots | options.expected)
    missing = promised - index.objects(promised).keys()
    for oid in sorted(missing & options.expected):
        inventory.damage("object", f"blake3:{oid.hex()}", "was here and is not any more")
    if report.unnamed:
        missing |= _needed_and_unknown(report, options)
    found = 0
    for pack, size in report.unnamed.items():
        name = pack_name(pack)
        try:
            rows = stored_rows(index.remote.backend, pack, size)
        except (CorruptError, NotThere):
            if pack not in report.damaged_unnamed:
                inventory.note("pack", name, "damaged; no segment names it")
            continue
        if any(row.id in missing for row in rows):
            found += 1
            inventory.damage("pack", name, "holds what is needed, and its segment is lost")
        elif pack not in report.damaged_unnamed:
            inventory.note("pack", name, "no segment names it: left by an interrupted push")
    report.lost_index = found > 0
    report.unfulfilled = missing & inventory.recorded
    for oid in sorted(report.unfulfilled - options.expected):
        name = f"blake3:{oid.hex()}"
        if report.index_is_damaged:
            inventory.damage("object", name, "recorded as pushed, and what named it is damaged")
        else:
            inventory.note("object", name, "recorded as pushed, and not here: never was complete")


def _needed_and_unknown(report: CheckReport, options: CheckOptions) -> set[bytes]:
    needs = examine_needs(
        Places(report.index, report.bad),
        lambda name: open_whole(report.index.remote, name),
        (),
        options.jobs,
    )
    return needs.lacking


def _examine_needs(report: CheckReport, options: CheckOptions) -> None:
    """Which objects cannot be had whole."""
    remote, inventory = report.index.remote, report.inventory
    known = len(report.bad.rows)
    places = Places(report.index, report.bad)
    promised = set(inventory.roots | inventory.recorded)
    here = promised & report.index.objects(promised).keys()
    wanted = here | inventory.roots | options.expected
    if report.index_is_damaged:
        wanted |= report.unfulfilled
    report.needs = examine_needs(
        places, lambda name: open_whole(remote, name), wanted, options.jobs
    )
    if len(report.bad.rows) > known:
        packs = {pack for pack, _, _ in report.bad.rows} - report.damaged.keys()
        for pack in sorted(packs):
            inventory.damage("pack", pack_name(pack), "damaged: a tree or recipe is unreadable")
            report.damaged[pack] = [row for one, row in claims(report, {pack}) if one == pack]
    if report.needs.lacking and report.clean:
        text = f"{len(report.needs.lacking)} things that objects need are named by no segment"
        inventory.damage("index", "index", text)
