"""`dvlite checkout --rev`: paths as they were, without losing what is not saved; and `--bisect`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from dvlite.storage.oid import hash_bytes
from tests.repositories import Repository, listing

USAGE, PATH, CONFLICT, MISSING = 2, 4, 5, 6
SKIP, STOP = 125, 128


@pytest.fixture
def versions(repository: Repository) -> Repository:
    """Two versions of a folder and a file; the first is tagged v1. `late` came with the second."""
    repository.add_and_commit({"in/data/a": b"a1", "in/data/b": b"b", "model": b"1"}, "in/data")
    repository.dvlite("add", "model")
    repository.commit("one")
    repository.git("tag", "v1")
    new = {"in/data/a": b"a2", "in/data/c": b"c", "model": b"22", "in/late": b"late"}
    repository.add_and_commit(new, "in/data", "model", "in/late")
    return repository


def staged(repository: Repository) -> list[str]:
    return repository.git("diff", "--cached", "--name-only").split()


def test_pointer_data_and_index_are_as_then_and_the_rest_stays(versions: Repository) -> None:
    ran = versions.dvlite("checkout", "--rev", "v1", "in")
    assert listing(versions.path / "in/data").keys() == {"", "a", "b"}
    assert versions.read("in/data/a") == b"a1"
    assert staged(versions) == ["in/data.dvl"]
    assert versions.git("show", "v1:in/data.dvl").encode() == versions.read("in/data.dvl")
    assert (versions.read("model"), versions.read("in/late")) == (b"22", b"late")
    assert "updated" in ran.out
    assert json.loads(versions.dvlite("status", "--json").out)["clean"]
    versions.dvlite("checkout", "--rev", "HEAD", "in/data", "model")
    assert staged(versions) == [] and versions.read("in/data/c") == b"c"


def test_a_part_of_a_folder_is_as_then_and_other_edits_in_it_stay(versions: Repository) -> None:
    versions.write({"in/data/b": b"edited", "in/data/mine": b"mine"})
    versions.dvlite("checkout", "--rev", "v1", "in/data/a")
    assert versions.read("in/data/a") == b"a1"
    assert (versions.read("in/data/b"), versions.read("in/data/mine")) == (b"edited", b"mine")
    found = json.loads(versions.dvlite("ls", "--json", "-R", "in/data").out)["listings"][0]
    assert [one["path"] for one in found["entries"]] == ["in/data/a", "in/data/b", "in/data/c"]
    assert "in/data/b" in versions.dvlite("diff").out
    assert staged(versions) == ["in/data.dvl"]


@pytest.mark.parametrize("path", ["in/data", "in/data/a", "in/data/b"])
def test_edits_stop_it_and_nothing_has_changed(versions: Repository, path: str) -> None:
    versions.write({"in/data/a": b"edited", "in/data/b": b"edited too"})
    before = versions.work_files()
    assert "would be lost" in versions.dvlite("checkout", "--rev", "v1", path, code=CONFLICT).err
    assert versions.work_files() == before


def test_force_discards_the_edits_of_the_path_and_keeps_a_copy(versions: Repository) -> None:
    versions.write({"in/data/a": b"edited"})
    ran = versions.dvlite("checkout", "--rev", "v1", "--force", "in/data/a", "--json")
    assert (versions.read("in/data/a"), versions.read("in/data/c")) == (b"a1", b"c")
    kept = json.loads(ran.out)["recover"][0]["id"]
    versions.dvlite("checkout", "--recover", kept)
    assert versions.read(f"in/data.recovered-{kept}/a") == b"edited"


def test_a_record_that_was_cut_short_does_not_take_the_next_one_along(
    versions: Repository,
) -> None:
    """As by a full disk: who discards after that can have it back all the same."""
    versions.write({"model": b"edited"})
    versions.dvlite("checkout", "--force", "model")
    record = next(versions.path.glob(".git/dvlite/*/discarded"))
    record.write_bytes(record.read_bytes()[:-10])
    versions.write({"model": b"edited once more"})
    ran = versions.dvlite("checkout", "--force", "model", "--json")
    kept = json.loads(ran.out)["recover"][0]["id"]
    versions.dvlite("checkout", "--recover", kept)
    assert versions.read(f"model.recovered-{kept}") == b"edited once more"


def test_force_for_a_part_does_not_discard_other_edits(versions: Repository) -> None:
    versions.write({"in/data/a": b"edited", "in/data/b": b"edited too"})
    before = versions.work_files()
    ran = versions.dvlite("checkout", "--rev", "v1", "--force", "in/data/a", code=CONFLICT)
    assert "other edits" in ran.err
    assert versions.work_files() == before


def test_what_was_added_and_never_committed_can_be_had_again(versions: Repository) -> None:
    versions.write({"model": b"never committed"})
    versions.dvlite("add", "model")
    ran = versions.dvlite("checkout", "--rev", "v1", "model", "--json")
    assert versions.read("model") == b"1"
    kept = json.loads(ran.out)["recover"][0]["id"]
    versions.dvlite("checkout", "--recover", kept)
    assert versions.read(f"model.recovered-{kept}") == b"never committed"
    # what a commit has needs no such copy
    assert not json.loads(versions.dvlite("checkout", "--rev", "v1", "in", "--json").out)["recover"]


def test_a_path_that_is_tracked_no_more_comes_back_and_git_ignores_it(
    versions: Repository,
) -> None:
    versions.dvlite("rm", "model")
    versions.commit("gone")
    (versions.path / "model").unlink()
    versions.dvlite("checkout", "--rev", "v1", "model.dvl")
    assert versions.read("model") == b"1"
    assert versions.git("status", "--short").split("\n")[:-1] == ["A  .gitignore", "A  model.dvl"]


def test_it_does_not_take_the_place_of_something_else(versions: Repository) -> None:
    versions.dvlite("rm", "model")
    versions.write({"model": b"code now"})
    versions.git("add", "-f", "model")
    versions.commit("code")
    assert "git tracks" in versions.dvlite("checkout", "--rev", "v1", "model", code=PATH).err
    versions.git("rm", "-q", "--cached", "model")
    versions.commit("nothing")
    assert "be lost" in versions.dvlite("checkout", "--rev", "v1", "model", code=CONFLICT).err
    assert versions.read("model") == b"code now"


def test_nothing_is_written_behind_a_link(versions: Repository, tmp_path: Path) -> None:
    shutil.move(versions.path / "in", tmp_path / "in")
    (versions.path / "in").symlink_to(tmp_path / "in")
    before = listing(tmp_path / "in")
    ran = versions.dvlite("checkout", "--rev", "v1", ".", code=PATH)
    assert "behind a symbolic link" in ran.err
    assert listing(tmp_path / "in") == before


def test_dry_run_changes_nothing(versions: Repository) -> None:
    before = versions.everything()
    ran = versions.dvlite("checkout", "--rev", "v1", "--dry-run", "in", "model")
    assert "updated    in/data" in ran.out
    assert versions.everything() == before


def test_content_that_is_missing_is_named_with_the_way_to_have_it(versions: Repository) -> None:
    versions.dvlite("push", "--all-commits")
    shutil.rmtree(versions.path / ".git/dvlite/cache")
    before = versions.work_files()
    ran = versions.dvlite("checkout", "--rev", "v1", "model", code=MISSING)
    assert "dvlite fetch --rev v1 model" in ran.err
    assert versions.work_files() == before
    versions.dvlite("fetch", "--rev", "v1", "model")
    versions.dvlite("checkout", "--rev", "v1", "model")
    assert versions.read("model") == b"1"


def test_wrong_use_is_refused(versions: Repository) -> None:
    versions.dvlite("checkout", "--rev", "v1", code=USAGE)
    versions.dvlite("checkout", "--rev", "v1", "model", "--keep-edits", code=USAGE)
    versions.dvlite("checkout", "--rev", "v9", "model", code=MISSING)
    versions.dvlite("checkout", "--rev", "v1", "in/late", code=PATH)


def test_errors_have_codes_that_bisect_does_not_take_for_an_answer(versions: Repository) -> None:
    assert versions.dvlite("checkout", "--bisect").code == 0
    versions.write({"model": b"edited"})
    versions.git("checkout", "-q", "v1")
    versions.dvlite("checkout", "--bisect", code=STOP)
    versions.dvlite("checkout", "--bisect", "--no-such-option", code=STOP)
    versions.dvlite("checkout", "--force", "model")
    shutil.rmtree(versions.path / ".git/dvlite/cache")
    versions.git("checkout", "-q", "main")
    versions.dvlite("checkout", "--bisect", code=SKIP)
    versions.dvlite("pull", "--bisect", code=STOP)  # a remote that was never pushed to


def test_git_bisect_run_finds_the_first_bad_data_and_skips_what_is_missing(
    repository: Repository,
) -> None:
    hashes = []
    for number in range(9):
        content = f"{'good' if number < 6 else 'bad'} {number}".encode()
        hashes.append(repository.add_and_commit({"model": content}, "model"))
    oid = hash_bytes(b"good 4").hex()
    (repository.path / ".git/dvlite/cache/objects" / oid[:2] / oid[2:]).unlink()
    script = f"{sys.executable} -m dvlite checkout --bisect || exit $?; grep -q good model"
    repository.git("bisect", "start", hashes[8], hashes[0])
    said = repository.git("bisect", "run", "sh", "-c", script)
    assert f"{hashes[6]} is the first bad commit" in said
    log = repository.git("bisect", "log")
    assert f"git bisect skip {hashes[4]}" in log
    repository.git("bisect", "reset")
