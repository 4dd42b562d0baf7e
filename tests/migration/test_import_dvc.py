"""`dvlite import-dvc` on repositories that DVC itself made: nothing is lost, DVC goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.migration.conftest import DvcProject, data_of
from tests.repositories import Repository, listing

PROJECT, PARTIAL = 3, 12
TRACKED = ["data", "in/sub/small", "model.bin", "out.bin", "preds"]


def imported(project: DvcProject, *words: str, code: int = 0) -> dict[str, Any]:
    ran = project.repository.dvlite("import-dvc", "--json", *words, code=code)
    return dict(json.loads(ran.out))


def without_data(project: DvcProject) -> None:
    """The workspace's data is gone, and so are the places it came from."""
    for name in TRACKED:
        path = project.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_files(folder: Path, contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        assert (folder / name).read_bytes() == data, name


def test_everything_is_taken_byte_for_byte_and_dvc_goes_on(
    dvc_project: DvcProject, dvc_program: str
) -> None:
    repository = dvc_project.repository
    before = listing(dvc_project.path / ".dvc")
    found = imported(dvc_project)
    assert [one["path"] for one in found["items"] if one["state"] == "taken"] == TRACKED
    assert [one["path"] for one in found["items"] if one["state"] == "in git"] == ["metric.json"]
    assert {name for one in found["items"] for name in one["from"]} == {"DVC's cache"}
    assert json.loads(repository.dvlite("status", "--json").out)["clean"]
    assert listing(dvc_project.path / ".dvc") == before
    command = [dvc_program, "status", "-q"]
    assert not subprocess.run(command, cwd=dvc_project.path, env=dvc_project.environment).returncode
    repository.commit("imported")
    without_data(dvc_project)
    shutil.rmtree(dvc_project.path / ".dvc/cache")
    repository.dvlite("checkout")
    check_files(dvc_project.path, dvc_project.contents[1])


def test_ignore_lines_move_and_the_remote_is_taken_over(dvc_project: DvcProject) -> None:
    found = imported(dvc_project)
    for path in (".gitignore", "in/sub/.gitignore"):
        lines = (dvc_project.path / path).read_text().splitlines()
        assert lines[0].startswith("# dvlite begin") and lines[-1] == "# dvlite end"
        assert len(lines) == len(set(lines))
    assert [(one["name"], one["url"]) for one in found["remotes"]] == [
        ("store", "../dvc-store/dvlite")
    ]
    dvc_project.repository.commit("imported")
    dvc_project.repository.dvlite("push")
    shutil.rmtree(dvc_project.path / ".git/dvlite/cache")
    without_data(dvc_project)
    dvc_project.repository.dvlite("pull")
    check_files(dvc_project.path, dvc_project.contents[1])


def test_old_versions_are_mapped_and_come_back(dvc_project: DvcProject, tmp_path: Path) -> None:
    repository = dvc_project.repository
    found = imported(dvc_project, "--history")
    assert found["history"]["mapped"] == found["history"]["versions"] >= 10
    assert not found["history"]["missing"]
    repository.commit("imported")
    repository.dvlite("push")
    shutil.rmtree(dvc_project.path / ".dvc/cache")
    shutil.rmtree(dvc_project.path / ".git/dvlite/cache")
    for commit, contents in zip(dvc_project.commits, dvc_project.contents, strict=True):
        repository.dvlite("reproduce", commit, "-o", str(tmp_path / commit))
        check_files(tmp_path / commit, contents)
        status = ["git", "-C", str(tmp_path / commit), "status", "--porcelain"]
        assert subprocess.run(status, capture_output=True, check=True).stdout == b""
    old = dvc_project.commits[0]
    repository.dvlite("get", f"{old}:data/deep/7.bin", "-o", str(tmp_path / "seven"))
    assert (tmp_path / "seven").read_bytes() == data_of(1)["data/deep/7.bin"]
    repository.dvlite("checkout", "--rev", old, "model.bin")
    assert repository.read("model.bin") == data_of(1)["model.bin"]
    assert "data" in repository.dvlite("ls", "--rev", old).out
    assert "data/large.bin" in repository.dvlite("diff", old, "HEAD").out


def test_a_second_run_changes_nothing(dvc_project: DvcProject) -> None:
    imported(dvc_project, "--history")
    before = dvc_project.repository.everything()
    found = imported(dvc_project, "--history")
    assert {one["state"] for one in found["items"]} == {"tracked", "in git"}
    assert dvc_project.repository.everything() == before


def test_dry_run_does_nothing(dvc_project: DvcProject) -> None:
    before = dvc_project.repository.work_files()
    found = imported(dvc_project, "--dry-run", "--history")
    assert [one["path"] for one in found["items"] if one["state"] == "taken"] == TRACKED
    assert (found["remotes"], found["history"]["versions"]) != ([], 0)
    assert dvc_project.repository.work_files() == before
    assert not (dvc_project.path / ".git/dvlite/cache").exists()
    ran = dvc_project.repository.dvlite("import-dvc", "-n")
    assert "would take" in ran.out and "nothing was done" in ran.err


def test_from_the_remotes_folder_when_the_cache_is_gone(dvc_project: DvcProject) -> None:
    shutil.rmtree(dvc_project.path / ".dvc/cache")
    without_data(dvc_project)
    found = imported(dvc_project)
    assert {name for one in found["items"] for name in one["from"]} == {"remote store"}
    dvc_project.repository.dvlite("checkout")
    check_files(dvc_project.path, dvc_project.contents[1])


def test_from_s3_with_both_versions(dvc_on_s3: DvcProject, tmp_path: Path) -> None:
    without_data(dvc_on_s3)
    found = imported(dvc_on_s3, "--history")
    assert {name for one in found["items"] for name in one["from"]} == {"remote store"}
    dvc_on_s3.repository.dvlite("checkout")
    check_files(dvc_on_s3.path, dvc_on_s3.contents[1])
    dvc_on_s3.repository.commit("imported")
    dvc_on_s3.repository.dvlite("push")
    shutil.rmtree(dvc_on_s3.path / ".git/dvlite/cache")
    dvc_on_s3.repository.dvlite("reproduce", dvc_on_s3.commits[0], "-o", str(tmp_path / "old"))
    check_files(tmp_path / "old", dvc_on_s3.contents[0])


def test_what_is_only_in_the_workspace_is_taken_and_the_rest_named(
    dvc_project: DvcProject,
) -> None:
    shutil.rmtree(dvc_project.path / ".dvc/cache")
    shutil.rmtree(dvc_project.path.parent / "dvc-store")
    (dvc_project.path / "model.bin").write_bytes(b"edited")
    found = imported(dvc_project, code=PARTIAL)
    states = {one["path"]: one["state"] for one in found["items"]}
    # of a folder the manifest is gone, and nothing tells which files it had
    assert states == {
        "data": "not taken",
        "in/sub/small": "taken",
        "metric.json": "in git",
        "model.bin": "not taken",
        "out.bin": "taken",
        "preds": "not taken",
    }
    ran = dvc_project.repository.dvlite("import-dvc", code=PARTIAL)
    assert "manifest" in ran.err and "3 paths could not be taken over" in ran.err


def test_edits_of_the_workspace_stay_edits(dvc_project: DvcProject) -> None:
    repository = dvc_project.repository
    repository.write({"model.bin": b"edited", "data/new": b"new"})
    imported(dvc_project)
    assert repository.read("model.bin") == b"edited"
    assert {"M  model.bin", "A  data/new"} <= {
        line.rpartition("  ")[0] for line in repository.dvlite("diff").out.splitlines()
    }


def test_links_into_dvcs_cache_become_files(dvc_project: DvcProject) -> None:
    cache = dvc_project.path / ".dvc/cache/files/md5"
    large = {path.read_bytes(): path for path in cache.rglob("*") if path.is_file()}
    for name in ("model.bin", "data/large.bin", "data/deep/3.bin"):
        path = dvc_project.path / name
        target = large[path.read_bytes()]
        path.unlink()
        path.symlink_to(target)
    imported(dvc_project)
    check_files(dvc_project.path, dvc_project.contents[1])
    assert not any(
        (dvc_project.path / name).is_symlink() for name in ("model.bin", "data/large.bin")
    )
    assert json.loads(dvc_project.repository.dvlite("status", "--json").out)["clean"]


def test_remove_old_takes_away_what_git_can_bring_back(dvc_project: DvcProject) -> None:
    found = imported(dvc_project, "--remove-old")
    assert [one["path"] for one in found["removed"]] == [
        "data.dvc",
        "in/sub/small.dvc",
        "model.bin.dvc",
    ]
    assert (dvc_project.path / "dvc.yaml").exists() and (dvc_project.path / ".dvc/cache").exists()
    assert {"what": ".dvc", "reason": "DVC's settings stay: dvc.yaml needs them"} in found["left"]
    check_files(dvc_project.path, dvc_project.contents[1])


def test_before_the_first_commit_dvcs_files_stay(own_home: Path, tmp_path: Path) -> None:
    """git could bring none of them back."""
    repository = Repository(tmp_path / "new", tmp_path / "store")
    repository.path.mkdir()
    repository.git("init", "--quiet")
    digest = hashlib.md5(b"data").hexdigest()
    text = f"outs:\n- md5: {digest}\n  size: 4\n  hash: md5\n  path: x\n"
    repository.write({".dvc/config": b"", "x.dvc": text.encode(), "x": b"data"})
    repository.dvlite("init")
    found = json.loads(repository.dvlite("import-dvc", "--remove-old", "--json").out)
    assert [one["state"] for one in found["items"]] == ["taken"] and not found["removed"]
    assert "x.dvc" in [one["what"] for one in found["left"]]
    assert repository.read("x.dvc") == text.encode()


def test_an_output_that_something_is_in_the_way_of_does_not_stop_the_others(
    repository: Repository,
) -> None:
    digest = hashlib.md5(b"data").hexdigest()
    outs = "".join(f"- md5: {digest}\n  hash: md5\n  path: {path}\n" for path in ("x/y", "z", "a"))
    files = {".dvc/config": b"", "some.dvc": f"outs:\n{outs}".encode(), "x": b"", "a": b"data"}
    repository.write({**files, "z.dvl/there": b""})
    ran = repository.dvlite("import-dvc", "--json", code=PARTIAL)
    found = {one["path"]: one for one in json.loads(ran.out)["items"]}
    assert {path: one["state"] for path, one in found.items()} == {
        "a": "taken",
        "x/y": "not taken",
        "z": "not taken",
    }
    assert "x is a file" in found["x/y"]["reason"] and "is a folder" in found["z"]["reason"]
    assert json.loads(repository.dvlite("status", "--json").out)["clean"]


def test_without_dvc_it_says_so(repository: Repository) -> None:
    assert "no repository of DVC" in repository.dvlite("import-dvc", code=PROJECT).err


def test_secrets_go_to_the_private_settings_only(dvc_project: DvcProject) -> None:
    (dvc_project.path / ".dvc/config").write_text(
        '[\'remote "cloud"\']\n    url = s3://bucket/dvc  # ours\n    profile = "team"\n'
        "    endpointurl = https://s3.example.org\n    version_aware = true\n"
        '[remote "web"]\nurl = gdrive://folder/dvc\n'
    )
    (dvc_project.path / ".dvc/config.local").write_text(
        "[core]\nremote = cloud\n['remote \"cloud\"']\n    secret_access_key = hidden-secret\n"
        "    access_key_id = KEY\n"
    )
    found = imported(dvc_project)
    assert found["remotes"] == [
        {
            "name": "cloud",
            "url": "s3://bucket/dvc/dvlite",
            "private": ["secret_access_key", "access_key_id"],
        }
    ]
    committed = dvc_project.repository.read(".dvlite/config.toml").decode()
    assert 'profile = "team"' in committed and "https://s3.example.org" in committed
    assert "hidden-secret" not in committed and "KEY" not in committed
    private = dvc_project.path / ".git/dvlite/config.toml"
    assert "hidden-secret" in private.read_text() and private.stat().st_mode & 0o77 == 0
    left = {one["what"] for one in found["left"]}
    assert {"remote web", "remote cloud, option version_aware"} <= left


def test_hooks_of_dvc_are_named(dvc_project: DvcProject) -> None:
    hook = dvc_project.path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexec dvc git-hook pre-commit $@\n")
    assert "git hook pre-commit" in {one["what"] for one in imported(dvc_project)["left"]}
