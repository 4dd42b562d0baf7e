"""Records of runs travel with push and fetch, and are believed only where the user says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from blake3 import blake3

from dvlite.errors import CorruptError
from dvlite.ops.runkey import key_of
from dvlite.ops.runrecords import join_records, read_record, split_records
from dvlite.pipeline.lockfile import LockedFile, LockedParam, LockedStage
from dvlite.project import Project
from dvlite.storage.codec import pack_frame
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.oid import hash_bytes
from dvlite.storage.remote import Remote
from dvlite.storage.runfiles import (
    MAX_FILE_BYTES,
    MAX_TEXT_BYTES,
    Copies,
    read_run_file,
    render_run_file,
)
from tests.gc.test_remote import NOW, collected
from tests.pipeline.test_run import TWO, ran, results
from tests.repositories import Repository

RUN = LockedStage(
    ("make",),
    deps=(LockedFile("raw", "file", hash_bytes(b"raw"), 3),),
    params=(LockedParam("params.yaml", "lr", 1),),
    outs=(LockedFile("upper", "file", hash_bytes(b"RAW"), 3),),
)


@pytest.fixture
def piped(repository: Repository) -> Repository:
    """Two stages that ran, committed and pushed; then a run that no commit tells of, its record
    pushed and its outputs gone from the workspace."""
    repository.write({"dvlite.yaml": TWO.encode(), "raw": b"abc\n", "params.yaml": b"lr: 1\n"})
    repository.write({".gitignore": b"runs\n"})
    repository.dvlite("run")
    repository.git("add", "-A")
    repository.commit("first")
    repository.share()
    repository.write({"raw": b"tried\n"})
    repository.dvlite("run")
    repository.git("reset", "--quiet", "--hard")
    ran(repository)
    return repository


def files(repository: Repository) -> list[Path]:
    return sorted(repository.store.glob("runs/*"))


def push(repository: Repository) -> dict[str, int]:
    found: dict[str, int] = json.loads(repository.dvlite("push", "--run-cache", "--json").out)[
        "runs"
    ]
    return found


def test_a_colleagues_run_counts_only_where_the_user_trusts_it(piped: Repository) -> None:
    pushed = push(piped)
    assert (pushed["records"], pushed["left_out"]) == (4, 0) and len(files(piped)) == 1
    clone = piped.clone("clone")
    clone.write({"raw": b"tried\n"})
    assert "1 file of records" in clone.dvlite("pull", "--run-cache").out
    assert results(clone, "--dry-run") == {"one": "would run", "two": "would run"}
    assert results(clone, "--trust-remote-runs") == {"one": "restored", "two": "restored"}
    assert clone.read("upper") == b"TRIED\n" and clone.read("count").strip() == b"6"
    assert ran(clone) == []
    other = piped.clone("other")
    other.write({"raw": b"tried\n"})
    other.dvlite("fetch", "--run-cache")
    assert results(other) == {"one": "ran", "two": "ran"}


def test_trust_is_a_setting_of_this_clone_alone(piped: Repository) -> None:
    push(piped)
    clone = piped.clone("clone")
    clone.dvlite("config", "run.trust_remote", "true", code=2)
    with (clone.path / ".dvlite/config.toml").open("a") as stream:
        stream.write('\n[run]\ntrust_remote = "true"\n')
    clone.write({"raw": b"tried\n"})
    clone.dvlite("fetch", "--run-cache")
    assert results(clone) == {"one": "ran", "two": "ran"}
    clone.write({"raw": b"abc\n"})
    third = piped.clone("third")
    third.write({"raw": b"tried\n"})
    third.dvlite("config", "--local", "run.trust_remote", "true")
    third.dvlite("fetch", "--run-cache")
    assert results(third) == {"one": "restored", "two": "restored"}


def test_nothing_is_sent_twice_and_one_push_is_one_file(piped: Repository) -> None:
    assert push(piped)["records"] == 4
    before = {path: path.stat().st_mtime_ns for path in files(piped)}
    assert push(piped)["records"] == 0
    piped.write({"raw": b"more\n"})
    piped.dvlite("run")
    assert push(piped)["records"] == 2
    assert len(files(piped)) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_without_being_asked_a_push_sends_no_records(piped: Repository) -> None:
    piped.dvlite("push")
    assert not files(piped)
    assert "would push 4 records of runs" in piped.dvlite("push", "--run-cache", "--dry-run").out
    assert not files(piped)
    piped.dvlite("config", "run.push_records", "true")
    assert "pushed 4 records of runs" in piped.dvlite("push").out
    assert len(files(piped)) == 1


def test_of_a_shared_cache_only_runs_of_this_project_are_sent(
    piped: Repository, tmp_path: Path
) -> None:
    shared = str(tmp_path / "shared")
    piped.dvlite("config", "--local", "cache.dir", shared)
    piped.write({"raw": b"mine\n"})
    piped.dvlite("run")
    other = piped.clone("other")
    other.dvlite("config", "--local", "cache.dir", shared)
    other.dvlite("config", "core.id", "another")
    other.write({"raw": b"theirs\n"})
    other.dvlite("run")
    assert push(piped)["records"] == 2
    assert push(other)["records"] == 2


def test_a_run_whose_outputs_are_gone_is_left_out(piped: Repository) -> None:
    lost = hash_bytes(b"TRIED\n").hex()
    cache = piped.path / ".git/dvlite/cache"
    (cache / "objects" / lost[:2] / lost[2:]).unlink()
    pushed = push(piped)
    assert (pushed["records"], pushed["left_out"]) == (3, 1)


def test_gc_drops_what_no_commit_names_and_joins_the_rest(piped: Repository) -> None:
    assert collected(piped)["dropped_runs"] == 0
    push(piped)
    piped.dvlite("checkout", "--force")
    piped.git("reflog", "expire", "--expire=now", "--all")
    piped.git("gc", "--quiet", "--prune=now")
    [before] = files(piped)
    assert collected(piped, "--dry-run")["dropped_runs"] == 3
    assert files(piped) == [before]
    # of what the commit names git itself keeps `count`, so only `upper` is on the remote
    assert collected(piped)["dropped_runs"] == 3
    [after] = files(piped)
    assert after != before
    [lines] = split_records(read_run_file(after.name, after.read_bytes())).values()
    assert hash_bytes(b"ABC\n").hex().encode() in lines
    clone = piped.clone("clone")
    clone.dvlite("config", "--local", "run.trust_remote", "true")
    clone.dvlite("fetch", "--run-cache")
    clone.write({"raw": b"tried\n"})
    assert results(clone) == {"one": "ran", "two": "ran"}
    assert collected(piped)["dropped_runs"] == 0 and files(piped) == [after]


def test_gc_joins_many_files_and_spares_young_ones(piped: Repository) -> None:
    for number in range(8):
        piped.write({"raw": b"%d\n" % number})
        piped.dvlite("run")
        piped.git("add", "-A")
        piped.commit(f"run {number}")
        push(piped)
    piped.share()
    assert len(files(piped)) == 8
    piped.dvlite("gc", "--remote", "--yes")
    assert len(files(piped)) == 8
    piped.dvlite(*NOW)
    assert len(files(piped)) == 1


def test_remotes_are_checked_copied_and_published_with_records(
    piped: Repository, tmp_path: Path
) -> None:
    push(piped)
    [file] = files(piped)
    assert json.loads(piped.dvlite("remote", "check", "--json").out)["problems"] == []
    copied = json.loads(piped.dvlite("remote", "copy", "store", "./copy", "--json").out)
    assert copied["run_files"] == 1
    assert (piped.path / "copy/runs" / file.name).read_bytes() == file.read_bytes()
    piped.dvlite("remote", "publish")
    assert b"runs/" not in (piped.store / "index/list").read_bytes()
    os.chmod(file, 0o644)
    file.write_bytes(b"x" + file.read_bytes()[1:])
    [problem] = json.loads(piped.dvlite("remote", "check", "--json").out)["problems"]
    assert (problem["what"], problem["damage"]) == ("runs", False)
    clone = piped.clone("clone")
    said = clone.dvlite("fetch", "--run-cache")
    assert "is damaged" in said.err and "no new records" in said.out
    piped.dvlite(*NOW)
    assert not files(piped)


def remote_file(repository: Repository, text: bytes) -> None:
    name, data = render_run_file(text)
    path = repository.store / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"dvlite: 2\nstages:\n",
        b"dvlite: 1\nstages:\n  " + b"a" * 64 + b':\n    cmd: ["x"]\n    bad: 1\n',
        b"dvlite: 1\nstages:\n  " + b"a" * 64 + b":\n    cmd: " + b"[" * 100_000 + b"\n",
        b"\xff" * 100,
    ],
)
def test_senseless_records_change_nothing(piped: Repository, text: bytes) -> None:
    remote_file(piped, text)
    piped.dvlite("config", "--local", "run.trust_remote", "true")
    piped.dvlite("fetch", "--run-cache")
    piped.write({"raw": b"unseen\n"})
    assert results(piped) == {"one": "ran", "two": "ran"}
    assert push(piped)["records"] == 6


def test_a_record_under_another_runs_key_is_not_believed() -> None:
    key = key_of(RUN)
    [(text, count)] = join_records({key: RUN})
    assert count == 1 and read_record(key, split_records(text)[key]) == RUN
    assert read_record("0" * 64, split_records(text)[key]) is None
    out = text.replace(b'"upper"', b'"../up"')
    assert read_record(key, split_records(out)[key]) is None


def test_the_bytes_are_what_the_format_page_says() -> None:
    key = key_of(RUN)
    [(text, _)] = join_records({key: RUN})
    raw, upper = hash_bytes(b"raw").hex(), hash_bytes(b"RAW").hex()
    assert key == "b08ce1ee7f91bdf852c0c6f7e41f5acc66c4719af21334b0918e8a34529bd95f"
    assert text.decode() == (
        "dvlite: 1\nstages:\n"
        f"  {key}:\n"
        '    cmd: ["make"]\n'
        "    deps:\n"
        f'      - {{"path": "raw", "kind": "file", "oid": "blake3:{raw}", "size": 3}}\n'
        "    params:\n"
        '      - {"file": "params.yaml", "key": "lr", "value": 1}\n'
        "    outs:\n"
        f'      - {{"path": "upper", "kind": "file", "oid": "blake3:{upper}", "size": 3}}\n'
    )
    name, data = render_run_file(text)
    assert data == pack_frame(text) and name == f"runs/{blake3(data).hexdigest()}"
    assert read_run_file(name, data) == text


def test_files_have_limits(tmp_path: Path) -> None:
    name, data = render_run_file(b"\0" * (MAX_TEXT_BYTES + 1))
    with pytest.raises(CorruptError):
        read_run_file(name, data)
    store = tmp_path / "store"
    (store / "runs").mkdir(parents=True)
    (store / "runs" / ("1" * 64)).write_bytes(b"")
    with (store / "runs" / ("2" * 64)).open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    (store / "runs" / "other").write_bytes(data)
    copies = Copies(str(tmp_path / "cache"), "place")
    synced = copies.sync(Remote("r", FolderBackend(str(store))), 2)
    assert (synced.listed, synced.read, synced.passed_over) == (2, 0, 2)
    assert list(copies.texts()) == []


def test_many_records_go_into_several_files() -> None:
    long = "x" * (5 << 20)
    records = {f"{number:064d}": LockedStage((long,)) for number in range(7)}
    texts = list(join_records(records))
    assert [count for _, count in texts] == [3, 3, 1]
    assert all(len(text) <= MAX_TEXT_BYTES for text, _ in texts)
    assert {key for text, _ in texts for key in split_records(text)} == records.keys()


def test_copies_follow_what_the_remote_has(piped: Repository) -> None:
    push(piped)
    clone = piped.clone("clone")
    assert "1 file of records" in clone.dvlite("fetch", "--run-cache").out
    folder = Path(Project.open(str(clone.path)).cache_folder) / "runs"
    assert len(list(folder.glob("from-*/*"))) == 1
    files(piped)[0].unlink()
    clone.dvlite("fetch", "--run-cache")
    assert not list(folder.glob("from-*/*"))
