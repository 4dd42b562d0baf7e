"""Repositories of other tools, made by those tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.repositories import Repository
from tests.servers import dvc, s3

_GIT = "[user]\n    name = Test\n    email = test@example.org\n[init]\n    defaultBranch = main\n"
_CONFIG = """\
[core]
    analytics = false
    check_update = false
    autostage = true
    remote = store
[cache]
    type = copy
['remote "store"']
    url = ../../dvc-store
"""
_STAGES = """\
stages:
  train:
    cmd: cat data/a.txt model.bin > out.bin && echo 1 > metric.json && mkdir -p preds &&
      cp data/a.txt preds/one && cp model.bin preds/two
    deps:
    - data
    - model.bin
    outs:
    - out.bin
    - preds
    metrics:
    - metric.json:
        cache: false
"""


@dataclass(frozen=True, slots=True)
class DvcProject:
    """A repository that DVC made: two commits, what each of them had, and its remote's folder."""

    repository: Repository
    commits: tuple[str, ...]
    contents: tuple[dict[str, bytes], ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.repository.path

    def copy(self, folder: Path) -> DvcProject:
        """All of it at another place."""
        shutil.copytree(self.path.parent, folder / "dvc-copy", symlinks=True)
        there = Repository(folder / "dvc-copy" / "work", self.repository.store)
        return DvcProject(there, self.commits, self.contents, self.environment)


def data_of(number: int) -> dict[str, bytes]:
    """What version `number` of the project has."""
    files = {f"data/deep/{one}.bin": b"%d-%d" % (one, one * number) for one in range(70)}
    return {
        **files,
        "data/a.txt": b"line one\r\nversion %d\r\n" % number,
        "data/no": b"",
        "data/large.bin": bytes([number]) * 300_000,
        "model.bin": b"m" * 150_000 + b"%d" % number,
        "in/sub/small": b"small %d" % number,
    }


def results_of(number: int) -> dict[str, bytes]:
    """What its pipeline makes of that."""
    data = data_of(number)
    return {
        "out.bin": data["data/a.txt"] + data["model.bin"],
        "preds/one": data["data/a.txt"],
        "preds/two": data["model.bin"],
    }


@pytest.fixture(scope="session")
def dvc_program() -> str:
    found = dvc.program()
    if found is None:
        pytest.skip("NOT TESTED: taking over repositories of DVC (pip install dvc failed)")
    return found


@pytest.fixture(scope="session")
def dvc_original(
    dvc_program: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> DvcProject:
    """Made once: starting DVC takes a second each time."""
    folder = tmp_path_factory.mktemp("dvc")
    home = folder / "home"
    home.mkdir()
    (home / "gitconfig").write_text(_GIT)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "PYTHONPATH": "",
    }
    work = folder / "project" / "work"

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    work.mkdir(parents=True)
    run("git", "init", "-q")
    run(dvc_program, "init", "-q")
    (work / ".dvc/config").write_text(_CONFIG)
    (work / "dvc.yaml").write_text(_STAGES)
    commits = []
    for number in (1, 2):
        for name, data in data_of(number).items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(data)
        run(dvc_program, "add", "-q", "data", "model.bin", "in/sub/small")
        run(dvc_program, "repro", "-q")
        run("git", "add", "-A")
        run("git", "commit", "-q", "-m", f"version {number}")
        commits.append(run("git", "rev-parse", "HEAD"))
    run(dvc_program, "push", "-q", "--all-commits")
    contents = tuple({**data_of(number), **results_of(number)} for number in (1, 2))
    repository = Repository(work, folder / "project" / "dvc-store")
    return DvcProject(repository, tuple(commits), contents, environment)


@pytest.fixture
def dvc_project(dvc_original: DvcProject, own_home: Path, tmp_path: Path) -> DvcProject:
    """A copy of it, with a project of dvlite that is committed."""
    project = dvc_original.copy(tmp_path)
    project.repository.dvlite("init")
    project.repository.git("add", "-A")
    project.repository.commit("dvlite")
    return project


@pytest.fixture
def dvc_on_s3(dvc_project: DvcProject, s3_remote: s3.S3Server, dvc_program: str) -> DvcProject:
    """The same with all data on S3, and none on this machine."""
    config = dvc_project.path / ".dvc/config"
    url = s3_remote.new_url()
    text = config.read_text().replace("../../dvc-store", url)
    config.write_text(text + f"    endpointurl = {s3_remote.endpoint}\n    region = us-east-1\n")
    environment = {**dvc_project.environment, **s3_remote.environment}
    command = [dvc_program, "push", "-q"]
    done = subprocess.run(command, cwd=dvc_project.path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    # what old commits name: DVC would push it to the remotes that these commits have
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    client, cache = s3_remote.client(), dvc_project.path / ".dvc/cache"
    for path in cache.rglob("*"):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(cache)}"
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    shutil.rmtree(cache)
    return dvc_project
