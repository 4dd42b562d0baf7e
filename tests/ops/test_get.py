"""`dvlite get`: one file or part of a folder at any revision, without a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dvlite.workspace.take import Taker
from tests.repositories import Repository, listing

USAGE, PATH, CONFLICT, MISSING, CORRUPT = 2, 4, 5, 6, 8


@pytest.fixture
def versions(repository: Repository) -> Repository:
    """Two versions of a folder and a large file; the first is tagged v1. Everything is pushed."""
    files = {"data/a": b"a1", "data/sub/b": b"b1", "data/sub/run": b"#!", "model": b"m" * 200_000}
    repository.write(files)
    os.chmod(repository.path / "data/sub/run", 0o755)
    repository.dvlite("add", "data", "model")
    repository.commit("one")
    repository.git("tag", "v1")
    new = {"data/a": b"a2", "data/sub/b": b"b2", "model": b"n" * 200_000}
    repository.add_and_commit(new, "data", "model")
    repository.dvlite("push")
    return repository


def lose_cache(repository: Repository) -> None:
    shutil.rmtree(repository.path / ".git" / "dvlite" / "cache")


def test_a_file_a_folder_and_a_part_of_one_are_as_they_were(
    versions: Repository, tmp_path: Path
) -> None:
    before = versions.work_files()
    versions.dvlite("get", "v1:model", "-o", str(tmp_path / "m"))
    versions.dvlite("get", "v1:data", "-o", str(tmp_path / "d"))
    versions.dvlite("get", "v1:data/sub", "-o", str(tmp_path / "s"))
    versions.dvlite("get", "--rev", "HEAD", "data/sub/b", "-o", str(tmp_path / "b"))
    assert (tmp_path / "m").read_bytes() == b"m" * 200_000
    assert (tmp_path / "d/a").read_bytes() == b"a1"
    assert (tmp_path / "s/b").read_bytes() == b"b1"
    assert os.access(tmp_path / "d/sub/run", os.X_OK)
    assert (tmp_path / "b").read_bytes() == b"b2"
    assert versions.work_files() == before
    assert not [one for one in os.listdir(tmp_path) if one.startswith(".dvlite-get")]


def test_only_the_part_that_is_asked_for_is_fetched(versions: Repository, tmp_path: Path) -> None:
    lose_cache(versions)
    ran = versions.dvlite("get", "v1:data/sub/b", "-o", str(tmp_path / "b"), "--json")
    assert (tmp_path / "b").read_bytes() == b"b1"
    got = json.loads(ran.out)
    assert (got["size"], got["revision"], got["kind"]) == (2, "v1", "file")
    assert 0 < got["fetched_bytes"] < 100_000
    versions.dvlite("get", "v1:data/a", "-o", str(tmp_path / "a"))
    versions.set_remote(str(tmp_path / "nowhere"))
    # of the folder only what was asked for has come, of the model nothing
    versions.dvlite("get", "v1:data/sub/b", "-o", str(tmp_path / "again"))
    versions.dvlite("get", "v1:data/sub/run", "-o", str(tmp_path / "run"), code=7)
    versions.dvlite("get", "v1:model", "-o", str(tmp_path / "m"), code=7)
    assert not (tmp_path / "m").exists()


def test_what_the_remote_lacks_is_said_and_nothing_is_made(
    repository: Repository, tmp_path: Path
) -> None:
    repository.add_and_commit({"model": b"m"}, "model")
    repository.add_and_commit({"model2": b"m2"}, "model2")
    repository.dvlite("push", "model2")
    lose_cache(repository)
    ran = repository.dvlite("get", "HEAD:model", "-o", str(tmp_path / "m"), code=MISSING)
    assert "not on store" in ran.err
    assert not (tmp_path / "m").exists()


def test_a_file_goes_to_stdout_byte_for_byte(versions: Repository) -> None:
    for path, data in (("v1:model", b"m" * 200_000), ("v1:data/a", b"a1")):
        command = [sys.executable, "-m", "dvlite", "get", path, "-o", "-"]
        done = subprocess.run(command, cwd=versions.path, capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (data, b"")
    assert "is a folder" in versions.dvlite("get", "v1:data", "-o", "-", code=PATH).err
    versions.dvlite("get", "v1:model", "-o", "-", "--json", code=USAGE)


def test_a_damaged_object_gives_no_byte(versions: Repository, tmp_path: Path) -> None:
    objects = versions.path / ".git/dvlite/cache/objects"
    large = [path for path in objects.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    for path in large:
        path.chmod(0o644)
        path.write_bytes(b"x" * 200_000)
    assert large
    ran = versions.process("get", "v1:model", "-o", "-", code=CORRUPT)
    assert ran.out == ""
    versions.dvlite("get", "v1:model", "-o", str(tmp_path / "m"), code=CORRUPT)
    assert not (tmp_path / "m").exists()


def test_what_is_there_is_replaced_only_with_force_and_can_be_had_again(
    versions: Repository, tmp_path: Path
) -> None:
    (tmp_path / "m").write_bytes(b"mine")
    versions.dvlite("get", "v1:model", "-o", str(tmp_path / "m"), code=CONFLICT)
    assert (tmp_path / "m").read_bytes() == b"mine"
    ran = versions.dvlite("get", "v1:model", "-o", str(tmp_path / "m"), "--force", "--json")
    assert (tmp_path / "m").read_bytes() == b"m" * 200_000
    kept = json.loads(ran.out)["recover"]
    versions.dvlite("checkout", "--recover", kept)
    assert (tmp_path / f"m.recovered-{kept}").read_bytes() == b"mine"


def test_a_folder_that_is_in_the_way_is_moved_aside(versions: Repository, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/mine").write_bytes(b"mine")
    versions.dvlite("get", "v1:data", "-o", str(tmp_path / "d"), code=CONFLICT)
    ran = versions.dvlite("get", "v1:data", "-o", str(tmp_path / "d"), "-f", "--json")
    assert sorted(listing(tmp_path / "d")) == ["", "a", "sub", "sub/b", "sub/run"]
    assert (Path(json.loads(ran.out)["moved"]) / "mine").read_bytes() == b"mine"


def test_a_file_or_a_link_gives_way_to_a_folder(versions: Repository, tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("d")
    versions.dvlite("get", "v1:data", "-o", str(tmp_path / "link"), "--force")
    assert (tmp_path / "link/a").read_bytes() == b"a1"
    ran = versions.dvlite("get", "v1:data", "-o", str(tmp_path / "d"), "--force", "--json")
    assert (tmp_path / "d/a").read_bytes() == b"a1"
    kept = json.loads(ran.out)["recover"]
    versions.dvlite("checkout", "--recover", kept)
    assert (tmp_path / f"d.recovered-{kept}").read_bytes() == b"mine"


def test_a_file_that_cannot_be_kept_is_not_replaced(
    versions: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that another program is writing."""
    (tmp_path / "m").write_bytes(b"mine")
    read = Taker._take_small

    def writing(taker: Taker, descriptor: int, size: int) -> tuple[bytes, int]:
        with open(tmp_path / "m", "ab") as stream:
            stream.write(b"more")
        return read(taker, descriptor, size)

    monkeypatch.setattr(Taker, "_take_small", writing)
    versions.dvlite("get", "v1:model", "-o", str(tmp_path / "m"), "--force", code=CONFLICT)
    assert (tmp_path / "m").read_bytes().startswith(b"minemore")


def test_a_link_that_is_in_the_way_is_replaced_not_followed(
    versions: Repository, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "m").symlink_to("precious")
    versions.dvlite("get", "v1:model", "-o", str(tmp_path / "m"), "--force")
    assert not (tmp_path / "m").is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_without_output_it_takes_its_own_name_in_the_current_folder(
    versions: Repository, tmp_path: Path
) -> None:
    (versions.path / "elsewhere").mkdir()
    versions.dvlite("-C", "elsewhere", "get", "--rev", "v1", "../data/sub")
    assert versions.read("elsewhere/sub/b") == b"b1"
    (tmp_path / "into").mkdir()
    versions.dvlite("get", "v1:model", "-o", f"{tmp_path}/into/")
    assert (tmp_path / "into/model").stat().st_size == 200_000


@pytest.mark.parametrize(
    "output", ["model", "data", "data/new", "code.py", ".git/x", ".dvlite/x", "..", "nowhere/x"]
)
def test_it_never_goes_where_it_would_touch_the_workspace(
    versions: Repository, output: str
) -> None:
    before = versions.everything()
    versions.dvlite("get", "v1:model", "-o", output, "--force", code=PATH)
    assert versions.everything() == before


def test_it_says_what_a_path_is_that_no_pointer_tracks(versions: Repository) -> None:
    assert "git show v1:code.py" in versions.dvlite("get", "v1:code.py", "-o", "x", code=PATH).err
    assert "several tracked paths" in versions.dvlite("get", "v1:", "-o", "x", code=PATH).err
    assert "held no no" in versions.dvlite("get", "v1:data/no", "-o", "x", code=PATH).err
    versions.dvlite("get", "--rev", "v9", "data", "-o", "x", code=MISSING)
    said = versions.dvlite("get", "nowhere:data", code=4).err
    assert "no pointer tracks nowhere:data" in said and "git log" in said
