"""What a clone needs stays on record, also when it pushes but a part of it."""

from __future__ import annotations

import pytest

from dvlite.errors import CorruptError
from dvlite.storage.oid import hash_bytes
from dvlite.storage.remote import Remote
from dvlite.storage.rootrecord import (
    Said,
    read_record,
    read_said,
    record_roots,
    render_record,
)
from tests.repositories import Repository

CLONE, OTHER = bytes(15) + b"\1", bytes(15) + b"\2"
FIRST, SECOND = hash_bytes(b"1"), hash_bytes(b"2")


def newest(remote: Remote, clone: bytes = CLONE) -> Said:
    names = [one.name for one in remote.backend.list("roots")]
    name = max(one for one in names if one.startswith(f"roots/{clone.hex()}-"))
    return read_said(name, remote.backend.read(name))


def test_golden_record() -> None:
    said = Said(OTHER, {FIRST}, {SECOND})
    name, data = render_record(CLONE.hex(), said, 7)
    assert data.decode().splitlines() == [
        "dvlite: 1",
        f"project: {OTHER.hex()}",
        f"blake3:{FIRST.hex()}",
        f"before: blake3:{SECOND.hex()}",
    ]
    assert name == f"roots/{CLONE.hex()}-00000000000000000007-{hash_bytes(data).hex()[:16]}"
    assert read_said(name, data) == said
    assert read_record(name, data) == {FIRST, SECOND}


def test_the_newest_word_tells_of_those_before(remote: Remote) -> None:
    record_roots(remote, CLONE, [FIRST])
    record_roots(remote, CLONE, [SECOND], project=OTHER)
    assert newest(remote) == Said(OTHER, {SECOND}, {FIRST})
    record_roots(remote, CLONE, [FIRST])
    assert newest(remote) == Said(now={FIRST}, before={SECOND})


def test_a_part_is_added_to_the_word_before(remote: Remote) -> None:
    record_roots(remote, CLONE, [FIRST])
    record_roots(remote, OTHER, [])
    record_roots(remote, CLONE, [SECOND], more=True)
    assert newest(remote) == Said(now={FIRST, SECOND})
    assert newest(remote, OTHER) == Said()


def test_the_same_word_is_not_repeated(remote: Remote) -> None:
    record_roots(remote, CLONE, [FIRST, SECOND])
    record_roots(remote, CLONE, [SECOND], more=True)
    assert len(remote.backend.list("roots")) == 1


def test_word_that_a_gc_forgot_since_it_was_listed_is_none(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_roots(remote, CLONE, [FIRST])
    stored = remote.backend.list("roots")
    remote.backend.delete(stored[0].name)
    with monkeypatch.context() as patched:
        patched.setattr(type(remote.backend), "list", lambda backend, folder: stored)
        record_roots(remote, CLONE, [SECOND])
    assert newest(remote) == Said(now={SECOND})


@pytest.mark.parametrize(
    "data", [b"", b"dvlite: 1\nblake3:00\n", b"dvlite: 2\n", b"dvlite: 1\nproject: x\n"]
)
def test_other_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(CorruptError):
        read_record(render_record(CLONE.hex(), Said(now={FIRST}), 7)[0], data)


def test_pushing_one_path_forgets_no_other(repository: Repository) -> None:
    repository.add_and_commit({"a": b"1", "b": b"2"}, "a", "b")
    repository.dvlite("push")
    repository.dvlite("push", "a")
    records = sorted((repository.store / "roots").iterdir())
    text = records[-1].read_text()
    assert FIRST.hex() in text
    assert SECOND.hex() in text
