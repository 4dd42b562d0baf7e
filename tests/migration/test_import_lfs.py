"""`dvlite import-lfs` on repositories that git-lfs itself made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.conftest import git
from tests.repositories import Repository

PARTIAL = 12


@pytest.fixture
def lfs(repository: Repository) -> Repository:
    """Two commits of files that git-lfs keeps, one folder wholly; tagged v1 and v2."""
    if shutil.which("git-lfs") is None:
        pytest.skip("NOT TESTED: taking over repositories of git-lfs (apt-get install git-lfs)")
    repository.git("lfs", "install", "--local")
    attributes = b"*.bin filter=lfs diff=lfs merge=lfs -text\nall/** filter=lfs -text\n"
    repository.write({".gitattributes": attributes, "all/.keep": b""})
    repository.git("add", ".gitattributes")
    for number in (1, 2):
        repository.write(contents(number))
        os.chmod(repository.path / "in/run.bin", 0o755)
        repository.git("add", "-A")
        repository.commit(f"version {number}")
        repository.git("tag", f"v{number}")
    return repository


def contents(number: int) -> dict[str, bytes]:
    return {
        "model.bin": b"m" * 200_000 + b"%d" % number,
        "in/run.bin": b"#! %d" % number,
        "all/text": b"text %d\r\n" % number,
        "same.bin": b"same",
    }


def imported(repository: Repository, *words: str, code: int = 0) -> dict[str, Any]:
    return dict(json.loads(repository.dvlite("import-lfs", "--json", *words, code=code).out))


def check_files(folder: Path, number: int) -> None:
    for name, data in contents(number).items():
        assert (folder / name).read_bytes() == data, name


def object_of(repository: Repository, data: bytes) -> Path:
    digest = hashlib.sha256(data).hexdigest()
    return repository.path / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest


def test_every_file_gets_a_pointer_that_git_tracks_instead(lfs: Repository) -> None:
    found = imported(lfs)
    paths = sorted(contents(2))
    assert [one["path"] for one in found["items"] if one["state"] == "taken"] == paths
    assert {name for one in found["items"] for name in one["from"]} == {"git-lfs's store"}
    check_files(lfs.path, 2)
    lfs.commit("imported")
    in_git = lfs.git("ls-files").split()
    assert not set(paths) & set(in_git)
    assert {f"{path}.dvl" for path in paths} <= set(in_git)
    # also where git-lfs keeps all of a folder, pointers are git's own
    assert lfs.git("show", "HEAD:all/text.dvl").startswith("dvlite: 1\n")
    assert lfs.git("status", "--porcelain") == ""
    assert json.loads(lfs.dvlite("status", "--json").out)["clean"]
    lfs.dvlite("push")
    clone_url = str(lfs.path.parent / "clone")
    lfs.git("clone", "-q", str(lfs.path), clone_url)
    clone = Repository(Path(clone_url), lfs.store)
    clone.dvlite("pull")
    check_files(clone.path, 2)
    assert os.access(clone.path / "in/run.bin", os.X_OK)


def test_old_versions_are_mapped_and_come_back(lfs: Repository, tmp_path: Path) -> None:
    found = imported(lfs, "--history")
    # two versions of three files, one of the fourth; an empty file is none of git-lfs's
    assert found["history"] == {"versions": 7, "mapped": 7, "missing": []}
    lfs.commit("imported")
    lfs.dvlite("push")
    shutil.rmtree(lfs.path / ".git/lfs")
    shutil.rmtree(lfs.path / ".git/dvlite/cache")
    for number in (1, 2):
        lfs.dvlite("reproduce", f"v{number}", "-o", str(tmp_path / f"v{number}"))
        check_files(tmp_path / f"v{number}", number)
    lfs.dvlite("get", "v1:model.bin", "-o", str(tmp_path / "old"))
    assert (tmp_path / "old").read_bytes() == contents(1)["model.bin"]
    lfs.dvlite("checkout", "--rev", "v1", "all/text")
    assert lfs.read("all/text") == contents(1)["all/text"]


def test_pointers_whose_content_never_came_become_files(lfs: Repository) -> None:
    done = subprocess.run(
        ["git", "clone", "-q", str(lfs.path), str(lfs.path.parent / "bare-of-content")],
        env={**os.environ, "GIT_LFS_SKIP_SMUDGE": "1"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    clone = Repository(lfs.path.parent / "bare-of-content", lfs.store)
    assert clone.read("model.bin").startswith(b"version https://git-lfs")
    found = imported(clone, code=PARTIAL)
    assert {one["state"] for one in found["items"]} == {"not taken"}
    assert "git lfs pull" in found["items"][0]["reason"]
    shutil.copytree(lfs.path / ".git/lfs/objects", clone.path / ".git/lfs/objects")
    imported(clone)
    check_files(clone.path, 2)


def test_content_under_a_wrong_name_is_not_taken(lfs: Repository) -> None:
    for name, data in contents(2).items():
        path = object_of(lfs, data)
        path.chmod(0o644)
        path.write_bytes(b"x" * len(data))
        if name != "same.bin":
            lfs.write({name: b"edited too"})
    found = imported(lfs, code=PARTIAL)
    states = {one["path"]: (one["state"], one["from"]) for one in found["items"]}
    assert states.pop("same.bin") == ("taken", ["the workspace"])
    assert {state for state, _ in states.values()} == {"not taken"}


def test_edits_stay_edits(lfs: Repository) -> None:
    lfs.write({"model.bin": b"edited"})
    imported(lfs)
    assert lfs.read("model.bin") == b"edited"
    assert "M  model.bin" in lfs.dvlite("diff").out


def test_lines_of_gitattributes_go_only_with_remove_old(lfs: Repository) -> None:
    found = imported(lfs)
    assert b"filter=lfs" in lfs.read(".gitattributes") and not found["removed"]
    lfs.commit("imported")
    found = imported(lfs, "--remove-old")
    assert b"filter=lfs" not in lfs.read(".gitattributes")
    assert [one["path"] for one in found["removed"]] == [".gitattributes (lines with filter=lfs)"]
    lfs.write({"new.bin": b"new"})
    lfs.dvlite("add", "new.bin")
    lfs.commit("without git-lfs")


def test_gitattributes_that_are_too_large_to_read_stay_whole(repository: Repository) -> None:
    stored(repository, b"one")
    text = b"x filter=lfs\n" + b"# a comment\n" * 100_000
    repository.write({".gitattributes": text})
    repository.git("add", ".gitattributes")
    repository.commit()
    found = imported(repository, "--remove-old")
    assert [one["what"] for one in found["left"]] == [".gitattributes"] and not found["removed"]
    assert repository.read(".gitattributes").startswith(text)


def test_dry_run_does_nothing(lfs: Repository) -> None:
    before = lfs.work_files()
    found = imported(lfs, "--dry-run", "--history")
    assert {one["state"] for one in found["items"]} == {"taken"}
    assert found["history"]["versions"] == 7
    assert lfs.work_files() == before


def pointer(data: bytes, more: bytes = b"") -> bytes:
    digest = hashlib.sha256(data).hexdigest().encode()
    head = b"version https://git-lfs.github.com/spec/v1\n"
    return head + more + b"oid sha256:" + digest + b"\nsize %d\n" % len(data)


def test_what_only_looks_like_a_pointer_is_somebodys_file(repository: Repository) -> None:
    good = pointer(b"x")
    files = {
        "a": good[:-1],
        "b": good + b"more\n",
        "c": good.replace(b"sha256:", b"sha256:../"),
        "d": good.replace(b"/v1", b"/v2"),
        "e": b"\n" + good,
    }
    repository.write(files)
    repository.git("add", *files)
    repository.commit()
    assert imported(repository)["items"] == []


def test_an_extension_and_a_missing_object_are_named(repository: Repository) -> None:
    extended = pointer(b"x", b"ext-0-crypt sha256:" + b"0" * 64 + b"\n")
    repository.write({"extended": extended, "lost": pointer(b"lost"), "large": b"x" * 5000})
    repository.git("add", "extended", "lost", "large")
    repository.commit()
    reasons = {one["path"]: one["reason"] for one in imported(repository, code=PARTIAL)["items"]}
    assert reasons.keys() == {"extended", "lost"}
    assert "extension" in reasons["extended"] and "git lfs pull" in reasons["lost"]
    assert set(repository.git("ls-files").split()) >= {"extended", "lost", "large"}


def stored(repository: Repository, data: bytes) -> None:
    path = object_of(repository, data)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    repository.write({"x": pointer(data)})
    repository.git("add", "--force", "x")


def test_a_merge_that_is_not_decided_is_not_decided_by_the_import(repository: Repository) -> None:
    stored(repository, b"base")
    repository.commit()
    for name in ("ours", "theirs"):
        repository.git("checkout", "--quiet", "-b", name, "main")
        stored(repository, name.encode())
        repository.commit()
    assert git(repository, "merge", "--quiet", "ours").code == 1
    before = repository.work_files()
    for words in ((), ("--dry-run",)):
        assert "merge of x is not decided" in repository.dvlite("import-lfs", *words, code=None).err
    assert repository.work_files() == before


def test_a_version_that_came_from_a_branch_with_git_lfs_is_not_dropped(
    repository: Repository,
) -> None:
    stored(repository, b"one")
    repository.commit()
    imported(repository)
    mine = repository.read("x.dvl")
    repository.commit("imported")
    stored(repository, b"two")  # as a merge brings it
    repository.commit("theirs")
    item = imported(repository, code=PARTIAL)["items"][0]
    assert item["state"] == "not taken" and "with other content" in item["reason"]
    assert "x" in repository.git("ls-files").split() and repository.read("x.dvl") == mine


def test_a_link_in_the_store_is_not_followed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    repository.write({"stolen": pointer(b"secret")})
    repository.git("add", "stolen")
    repository.commit()
    path = object_of(repository, b"secret")
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "secret")
    assert imported(repository, code=PARTIAL)["items"][0]["state"] == "not taken"
