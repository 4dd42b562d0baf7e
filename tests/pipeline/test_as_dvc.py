"""`dvlite run` runs the stages that `dvc repro` runs: both do the same after each of many changes.

Every command notes in a file that it ran. Where the two differ on purpose, `DIFFERENT` says so, and
docs/pipelines.md why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.repositories import Repository, run
from tests.servers import dvc

STAGES = """\
stages:
  prepare:
    cmd: echo prepare >> "$RUNS" && tr a-z A-Z < raw.txt > clean.txt
    deps: [raw.txt]
    outs: [clean.txt]
  featurise:
    cmd:
      - echo featurise >> "$RUNS" && mkdir feats
      - cp clean.txt feats/a && wc -c < clean.txt > feats/b
    deps: [clean.txt]
    params: [rows]
    outs: [feats]
  train:
    cmd: echo train >> "$RUNS" && cat feats/a params.yaml > model.txt
    deps: [feats]
    params:
      - lr
      - net.depth
      - conf.py:
          - WIDTH
    outs: [model.txt]
  evaluate:
    cmd: echo evaluate >> "$RUNS" && echo '{"n":' $(cat model.txt feats/b | wc -c) '}' > score.json
    deps: [model.txt, feats]
    metrics:
      - score.json:
          cache: false
  report:
    cmd: echo report >> "$RUNS" && cp score.json report.txt
    deps: [score.json]
    outs: [report.txt]
  side:
    cmd: echo side >> "$RUNS" && ls -R folder > side.txt
    deps: [folder]
    params:
      - other.toml:
    outs: [side.txt]
  grid:
    matrix:
      n: [1, 2]
    cmd: echo grid@${item.n} >> "$RUNS" && head -c ${item.n} raw.txt > g-${item.n}.txt
    deps: [raw.txt]
    outs: ["g-${item.n}.txt"]
"""
FILES = {
    "raw.txt": "some text\n",
    "params.yaml": "lr: 0.1\nrows: 3\nnet:\n  depth: 2\nunused: 1\n",
    "conf.py": "WIDTH = 5\nOTHER = 6\n",
    "other.toml": "[a]\nb = 1\n",
    "folder/one": "1",
    "folder/deep/two": "2",
}
ALL = ["evaluate", "featurise", "grid@1", "grid@2", "prepare", "report", "side", "train"]


@dataclass(frozen=True)
class Place:
    """A project of one of the tools, to be changed."""

    path: Path
    pipeline: str
    lock: str
    run: Callable[..., object]

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.path / name).read_text()
        assert old in text, (name, old)
        self.write(name, text.replace(old, new, 1))

    def stage(self, old: str, new: str) -> None:
        """Changes the pipeline."""
        self.edit(self.pipeline, old, new)

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)

    def remove(self, *names: str) -> None:
        for name in names:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def drop_stage(self, name: str) -> None:
        """Takes a stage out of the pipeline."""
        lines = (self.path / self.pipeline).read_text().splitlines(keepends=True)
        start = lines.index(f"  {name}:\n")
        end = start + 1
        while end < len(lines) and lines[end].startswith("    "):
            end += 1
        (self.path / self.pipeline).write_text("".join(lines[:start] + lines[end:]))


Change = Callable[[Place], None]
CHANGES: dict[str, tuple[Change, Sequence[str]]] = {}


def change(name: str, *targets: str) -> Callable[[Change], Change]:
    """Registers a change, after which these targets and options are run."""

    def register(function: Change) -> Change:
        CHANGES[name] = function, targets
        return function

    return register


def simple(name: str, function: Change, *targets: str) -> None:
    CHANGES[name] = function, targets


def _nothing(place: Place) -> None:
    pass


simple("nothing", _nothing)
simple("a parameter", lambda p: p.edit("params.yaml", "lr: 0.1", "lr: 0.2"))
simple("a nested parameter", lambda p: p.edit("params.yaml", "depth: 2", "depth: 3"))
simple("a parameter of an early stage", lambda p: p.edit("params.yaml", "rows: 3", "rows: 4"))
simple("a parameter that no stage reads", lambda p: p.edit("params.yaml", "unused: 1", "unused: 2"))
simple("a comment beside parameters", lambda p: p.edit("params.yaml", "lr:", "# rate\nlr:"))
simple("a parameter written otherwise", lambda p: p.edit("params.yaml", "lr: 0.1", "lr: 1.0e-1"))
simple("a parameter in Python", lambda p: p.edit("conf.py", "WIDTH = 5", "WIDTH = 6"))
simple("another name in Python", lambda p: p.edit("conf.py", "OTHER = 6", "OTHER = 7"))
simple("a file of parameters", lambda p: p.edit("other.toml", "b = 1", "b = 2"))
simple(
    "a new name in a file of parameters", lambda p: p.edit("other.toml", "b = 1", "b = 1\nc = 2")
)
simple("a comment in a file of parameters", lambda p: p.edit("other.toml", "b = 1", "b = 1 # one"))
simple("a dependency edited", lambda p: p.edit("raw.txt", "some", "other"))
simple("a dependency edited, same result", lambda p: p.edit("raw.txt", "some", "SOME"))
simple("a dependency written again", lambda p: p.write("raw.txt", FILES["raw.txt"]))
simple("a dependency touched", lambda p: os.utime(p.path / "raw.txt", (1, 1)))
simple("a folder's file edited", lambda p: p.write("folder/one", "11"))
simple("a folder's file added", lambda p: p.write("folder/three", "3"))
simple("a folder's file removed", lambda p: p.remove("folder/one"))
simple(
    "a folder's file renamed",
    lambda p: (p.path / "folder/one").rename(p.path / "folder/uno"),  # type: ignore[arg-type,return-value]
)
simple("a command changed", lambda p: p.stage("cat feats/a params.yaml", "cat feats/b params.yaml"))
simple("a command's first", lambda p: p.stage("tr a-z A-Z", "tr a-y A-Y"))
simple(
    "a command as a list",
    lambda p: p.stage(
        'cmd: echo report >> "$RUNS" && cp score.json report.txt',
        'cmd:\n      - echo report >> "$RUNS"\n      - cp score.json report.txt',
    ),
)
simple("a comment in the pipeline", lambda p: p.stage("  train:\n", "  # trains\n  train:\n"))
simple("a description", lambda p: p.stage("  train:\n", "  train:\n    desc: trains\n"))
simple("an output deleted", lambda p: p.remove("model.txt"))
simple("a first output deleted", lambda p: p.remove("clean.txt"))
simple("a folder deleted", lambda p: p.remove("feats"))
simple("all outputs deleted", lambda p: p.remove("clean.txt", "feats", "model.txt", "report.txt"))
simple("an output edited", lambda p: p.write("model.txt", "mine"))
simple("a folder's output edited", lambda p: p.write("feats/a", "mine"))
simple("a file more in an output", lambda p: p.write("feats/c", "mine"))
simple("an output that git keeps deleted", lambda p: p.remove("score.json"))
simple("an output that git keeps edited", lambda p: p.write("score.json", "{}"))
simple("the last output deleted", lambda p: p.remove("report.txt"))


@change("a frozen stage")
def _(p: Place) -> None:
    p.stage("  prepare:\n", "  prepare:\n    frozen: true\n")
    p.edit("raw.txt", "some", "other")


@change("a frozen stage in the middle")
def _(p: Place) -> None:
    p.stage("  featurise:\n", "  featurise:\n    frozen: true\n")
    p.edit("raw.txt", "some", "other")


@change("a frozen stage thawed")
def _(p: Place) -> None:
    p.stage("  prepare:\n", "  prepare:\n    frozen: true\n")
    p.edit("raw.txt", "some", "other")
    p.run()
    (p.path / "runs").write_text("")
    p.stage("  prepare:\n    frozen: true\n", "  prepare:\n")


@change("a frozen stage's output deleted")
def _(p: Place) -> None:
    p.stage("  featurise:\n", "  featurise:\n    frozen: true\n")
    p.edit("params.yaml", "lr: 0.1", "lr: 0.3")


@change("always changed")
def _(p: Place) -> None:
    p.stage("  prepare:\n", "  prepare:\n    always_changed: true\n")


simple("a matrix grown", lambda p: p.stage("n: [1, 2]", "n: [1, 2, 3]"))
simple("a matrix shrunk", lambda p: p.stage("n: [1, 2]", "n: [2]"))
simple("a matrix reordered", lambda p: p.stage("n: [1, 2]", "n: [2, 1]"))
simple("a stage removed", lambda p: p.drop_stage("report"))
simple("a stage renamed", lambda p: p.stage("  train:\n", "  learn:\n"))


@change("a stage added")
def _(p: Place) -> None:
    more = '  more:\n    cmd: echo more >> "$RUNS" && cp raw.txt more.txt\n'
    p.write(p.pipeline, STAGES + more + "    deps: [raw.txt]\n    outs: [more.txt]\n")


@change("a stage added in the middle")
def _(p: Place) -> None:
    p.stage("deps: [model.txt, feats]", "deps: [small.txt, model.txt, feats]")
    more = '  more:\n    cmd: echo more >> "$RUNS" && cp model.txt small.txt\n'
    text = (p.path / p.pipeline).read_text()
    p.write(p.pipeline, text + more + "    deps: [model.txt]\n    outs: [small.txt]\n")


simple("a dependency added", lambda p: p.stage("deps: [feats]", "deps: [feats, folder]"))
simple("a dependency removed", lambda p: p.stage("deps: [model.txt, feats]", "deps: [model.txt]"))
simple("dependencies reordered", lambda p: p.stage("[model.txt, feats]", "[feats, model.txt]"))
simple("a parameter added", lambda p: p.stage("      - lr\n", "      - lr\n      - unused\n"))
simple("a parameter removed", lambda p: p.stage("      - lr\n", ""))
simple(
    "an output added",
    lambda p: p.stage(
        "&& cp score.json report.txt\n    deps: [score.json]\n    outs: [report.txt]",
        "&& cp score.json report.txt && cp score.json two.txt\n    deps: [score.json]\n"
        "    outs: [report.txt, two.txt]",
    ),
)
simple(
    "an output renamed",
    lambda p: p.stage(
        "cp score.json report.txt\n    deps: [score.json]\n    outs: [report.txt]",
        "cp score.json rep.txt\n    deps: [score.json]\n    outs: [rep.txt]",
    ),
)
simple("the lockfile deleted", lambda p: p.remove(p.lock))


@change("lockfile and outputs deleted")
def _(p: Place) -> None:
    p.remove(p.lock, "clean.txt", "feats", "model.txt", "report.txt", "score.json")


@change("a parameter and back")
def _(p: Place) -> None:
    p.edit("params.yaml", "lr: 0.1", "lr: 0.2")
    p.run()
    (p.path / "runs").write_text("")
    p.edit("params.yaml", "lr: 0.2", "lr: 0.1")


@change("a dependency and back")
def _(p: Place) -> None:
    p.edit("raw.txt", "some", "other")
    p.run()
    (p.path / "runs").write_text("")
    p.edit("raw.txt", "other", "some")


def _edited(p: Place) -> None:
    p.edit("raw.txt", "some", "other")


simple("one stage and what it needs", _edited, "train")
simple("one stage alone", _edited, "--single-item", "prepare")
simple("one stage alone, nothing changed", _nothing, "--single-item", "train")
simple("one stage by force", _nothing, "--force", "--single-item", "train")
simple("all by force", _nothing, "--force")
simple("one cell", _edited, "grid@2")
simple("a matrix by its name", _edited, "grid")
simple("downstream of one", _edited, "--downstream", "train")
simple("downstream with changes before it", _edited, "--downstream", "featurise")

# What each tool ran, where they differ on purpose: ours, DVC's.
DIFFERENT: dict[str, tuple[list[str], list[str]]] = {
    # what it is said to read is not what dvlite.lock says that it ran with
    "a dependency removed": (["evaluate"], []),
    "a parameter removed": (["train"], []),
}

_OPTIONS = {"--single-item": "--single"}
_DVC = """
import json, os, sys
from dvc.cli import main
for number, (folder, words) in enumerate(json.load(sys.stdin)):
    os.chdir(folder)
    os.environ["RUNS"] = os.path.join(folder, "runs")
    code = main(["repro", "-q", *words])
    with open("code", "w") as stream:
        stream.write(str(code))
"""


def _ran(folder: Path) -> list[str]:
    runs = folder / "runs"
    return sorted(runs.read_text().split()) if runs.exists() else []


class Dvc:
    """DVC, in one process for many projects: starting it takes a second."""

    def __init__(self, program: str, environment: dict[str, str]) -> None:
        self.program, self.environment = program, environment

    def repro(self, jobs: list[tuple[str, list[str]]]) -> None:
        python = Path(self.program).resolve().parent / "python"
        done = subprocess.run(
            [str(python), "-c", _DVC],
            input=json.dumps(jobs),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _project(folder: Path, pipeline: str) -> None:
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for name, text in {**FILES, pipeline: STAGES}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".gitignore").write_text("runs\ncode\n")


def _commit(folder: Path) -> None:
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "base"], cwd=folder, check=True)


@pytest.fixture(scope="session")
def of_dvc(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], int]]:
    """What DVC ran after each change, and how it ended."""
    program = dvc.program()
    if program is None:
        pytest.skip("NOT TESTED: the same stages as DVC (pip install dvc failed)")
    top = tmp_path_factory.mktemp("as-dvc")
    (top / "gitconfig").write_text("[user]\n name = T\n email = t@example.org\n")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "HOME": str(top),
        "GIT_CONFIG_GLOBAL": str(top / "gitconfig"),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(top / "site"),
        "PYTHONPATH": "",
    }
    tool = Dvc(program, environment)
    base = top / "base"
    _project(base, "dvc.yaml")
    subprocess.run([program, "init", "-q"], cwd=base, env=environment, check=True)
    tool.repro([(str(base), [])])
    assert _ran(base) == ALL
    (base / "runs").unlink()
    jobs = []
    for number, (make, words) in enumerate(CHANGES.values()):
        folder = top / f"c{number}"
        shutil.copytree(base, folder, symlinks=True)
        make(Place(folder, "dvc.yaml", "dvc.lock", lambda at=folder: tool.repro([(str(at), [])])))
        jobs.append((str(folder), list(words)))
    tool.repro(jobs)
    return {
        name: (_ran(top / f"c{number}"), int((top / f"c{number}/code").read_text()))
        for number, name in enumerate(CHANGES)
    }


@pytest.fixture(scope="session")
def piped_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dvlite project where everything has run."""
    top = tmp_path_factory.mktemp("as-dvlite")
    base = top / "base"
    with pytest.MonkeyPatch.context() as patch:
        (top / "gitconfig").write_text("[user]\n name = T\n email = t@example.org\n")
        patch.setenv("GIT_CONFIG_GLOBAL", str(top / "gitconfig"))
        patch.setenv("RUNS", str(base / "runs"))
        _project(base, "dvlite.yaml")
        run(base, "init")
        run(base, "run")
        assert _ran(base) == ALL
        (base / "runs").unlink()
        _commit(base)
    return base


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_stages_run(
    name: str,
    of_dvc: dict[str, tuple[list[str], int]],
    piped_once: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "work"
    shutil.copytree(piped_once, folder, symlinks=True)
    monkeypatch.setenv("RUNS", str(folder / "runs"))
    repository = Repository(folder, tmp_path / "store")
    make, words = CHANGES[name]
    make(Place(folder, "dvlite.yaml", "dvlite.lock", lambda: repository.dvlite("run")))
    ran = repository.dvlite("run", *(_OPTIONS.get(word, word) for word in words), code=None)
    theirs, code = of_dvc[name]
    ours = _ran(folder)
    if name in DIFFERENT:
        assert (ours, theirs) == DIFFERENT[name]
    else:
        assert ours == theirs, ran.out + ran.err
        assert (ran.code == 0) == (code == 0), ran.out + ran.err


def test_there_are_many_changes_and_most_run_the_same() -> None:
    assert len(CHANGES) >= 60
    assert set(DIFFERENT) <= set(CHANGES) and len(DIFFERENT) <= 6
