"""What a remote says of itself and how its files are named: golden, and strictly read."""

from __future__ import annotations

import json
import uuid

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import CorruptError, FormatVersionError, RemoteError
from dvlite.storage.backend import Backend, open_backend
from dvlite.storage.oid import from_text, hash_bytes, hash_recipe_part, hash_tree, to_text
from dvlite.storage.remote import (
    SegmentName,
    description,
    live,
    open_remote,
    pack_name,
    parse_name,
    render_name,
)
from dvlite.storage.segment import Counts

GOLDEN_DESCRIPTION = b"""\
{
  "chunker": {
    "algorithm": "fastcdc-2020",
    "average": 65536,
    "maximum": 262144,
    "minimum": 16384,
    "normalization": 2,
    "seed": 0
  },
  "dvlite": 1,
  "requires": [],
  "small_bytes": 131072
}
"""
PLAIN = "s-0-3-2-1-1-" + "ab" * 16
MERGED = "s-7-30-20-10-4-" + "cd" * 16 + "-" + "ab" * 6 + "." + "ef" * 6
HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
NAMES = st.builds(
    SegmentName,
    st.integers(0, 10**16 - 1),
    st.builds(
        Counts,
        st.integers(0, 10**12 - 1),
        st.integers(0, 10**12 - 1),
        st.integers(0, 10**9 - 1),
        st.integers(0, 10**9 - 1),
    ),
    HEX,
    st.lists(HEX.map(lambda text: text[:12]), max_size=16).map(tuple),
)


@pytest.fixture
def backend() -> Backend:
    return open_backend(f"memory://test-{uuid.uuid4().hex}/prefix")


def test_golden_description() -> None:
    assert description() == GOLDEN_DESCRIPTION


def test_the_first_to_come_writes_the_description(backend: Backend) -> None:
    open_remote("r", backend, create=True)
    assert backend.read("dvlite.json") == GOLDEN_DESCRIPTION


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dvlite", 2),
        ("requires", ["encryption"]),
        ("requires", "encryption"),
        ("small_bytes", 1),
        ("chunker", {"algorithm": "other"}),
    ],
)
def test_a_remote_of_another_format_is_refused(backend: Backend, key: str, value: object) -> None:
    content = {**json.loads(GOLDEN_DESCRIPTION), key: value}
    backend.write("dvlite.json", json.dumps(content).encode())
    with pytest.raises(FormatVersionError):
        open_remote("r", backend)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 60_000, GOLDEN_DESCRIPTION[:-3]]
)
def test_what_is_no_description_is_refused(backend: Backend, data: bytes) -> None:
    backend.write("dvlite.json", data)
    with pytest.raises(RemoteError):
        open_remote("r", backend)


def test_a_gc_marker_of_a_newer_version_is_refused_to_pushers(backend: Backend) -> None:
    remote = open_remote("r", backend, create=True)
    backend.write("index/gc-0000000000000001", b'{"dvlite": 2, "new": []}')
    listing = remote.listing()  # readers need no marker
    assert (listing.epoch, listing.readable) == (1, ())
    with pytest.raises(FormatVersionError):
        listing.view()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"dvlite": 1}', b'{"dvlite": "x"}'])
def test_a_damaged_gc_marker_is_refused_to_pushers(backend: Backend, data: bytes) -> None:
    remote = open_remote("r", backend, create=True)
    backend.write("index/gc-0000000000000001", data)
    listing = remote.listing()
    assert (listing.epoch, listing.readable) == (1, ())
    with pytest.raises(CorruptError):
        listing.view()


def test_golden_names() -> None:
    plain = SegmentName(0, Counts(objects=3, chunks=2, packs=1, roots=1), "ab" * 16)
    merged = SegmentName(7, Counts(30, 20, 10, 4), "cd" * 16, ("ab" * 6, "ef" * 6))
    assert render_name(plain) == f"index/{PLAIN}"
    assert render_name(merged) == f"index/{MERGED}"
    assert (parse_name(PLAIN), parse_name(MERGED)) == (plain, merged)
    assert pack_name(b"\xab" * 32) == "packs/ab/" + "ab" * 32


@given(NAMES)
def test_segment_names_round_trip(name: SegmentName) -> None:
    assert parse_name(render_name(name).removeprefix("index/")) == name


@pytest.mark.parametrize(
    "base",
    [
        "",
        "gc-0000000000000001",
        PLAIN + "\n",
        PLAIN[:-1],
        PLAIN.upper(),
        PLAIN + ".tmp",
        PLAIN + "-",
        MERGED + ".",
        "x" + PLAIN,
        PLAIN.replace("-3-", "--3-"),
    ],
)
def test_other_names_are_not_segments(base: str) -> None:
    assert parse_name(base) is None


def test_a_merge_replaces_what_it_names_and_the_newest_epoch_is_first() -> None:
    counts = Counts(1, 0, 1, 0)
    old, other = SegmentName(0, counts, "ab" * 16), SegmentName(0, counts, "12" * 16)
    newer = SegmentName(2, counts, "ee" * 16)
    merge = SegmentName(1, counts, "cd" * 16, (old.short,))
    assert live([old, other, merge, newer]) == (newer, merge, other)


def test_golden_ids() -> None:
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert hash_bytes(b"").hex() == empty
    assert hash_tree(b"x") == blake3(b"x", derive_key_context="dvlite 1 tree").digest()
    assert (
        hash_recipe_part(b"x") == blake3(b"x", derive_key_context="dvlite 1 recipe part").digest()
    )
    assert to_text(hash_bytes(b"")) == f"blake3:{empty}"


@given(st.binary(min_size=32, max_size=32))
def test_oid_text_round_trip(oid: bytes) -> None:
    assert from_text(to_text(oid)) == oid


@pytest.mark.parametrize(
    "text", ["", "ab" * 32, "blake3:" + "AB" * 32, "blake3:" + "ab" * 31, f"blake3:{'ab' * 32}\n"]
)
def test_other_text_is_no_oid(text: str) -> None:
    with pytest.raises(CorruptError):
        from_text(text)
