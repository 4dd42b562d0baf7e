"""Pipelines with many stages and dependencies, up to date: their data, and the contest on it."""

from __future__ import annotations

import shutil
from hashlib import md5
from pathlib import Path

from bench.rounds import Round, Runner, begin_all, commit_all, measure
from bench.steps import UNCHANGED
from bench.tools import Tool, quietly

STAGES, FILES = 1000, 100
# Shared work trees come with locks and outputs, but with nothing in the tools' own indexes.
FIRST_LOOK = "run, everything read for the first time"
RUN = {"dvlite": "run", "DVC": "repro"}
CACHE = "dvc-cache"


def stages(folder: Path, scale: float) -> None:
    """1,000 stages that read 100 small files each; every output is there already.

    `dvc.lock` and DVC's cache of the outputs are written as DVC does: it would take hours to make
    them, since it writes the whole lockfile anew after each stage.
    """
    project = folder / "project"
    (project / "out").mkdir(parents=True)
    pipeline, lock = ["stages:"], ["schema: '2.0'", "stages:"]
    for stage in range(max(10, int(STAGES * scale))):
        head = [f"  s{stage}:", f"    cmd: echo {stage} > out/{stage}.txt", "    deps:"]
        pipeline += head
        lock += head
        (project / "data" / f"{stage}").mkdir(parents=True)
        for name in sorted(f"f{number}.txt" for number in range(FILES)):
            path, content = f"data/{stage}/{name}", f"{stage} {name}\n".encode()
            (project / path).write_bytes(content)
            pipeline.append(f"    - {path}")
            lock += _locked(path, content, md5(content, usedforsecurity=False).hexdigest())
        out, content = f"out/{stage}.txt", f"{stage}\n".encode()
        (project / out).write_bytes(content)
        pipeline += ["    outs:", f"    - {out}"]
        name = md5(content, usedforsecurity=False).hexdigest()
        lock += ["    outs:", *_locked(out, content, name)]
        cached = folder / CACHE / "files" / "md5" / name[:2] / name[2:]
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(content)
    for file in ("dvc.yaml", "dvlite.yaml"):
        (project / file).write_text("\n".join(pipeline) + "\n")
    (project / "dvc.lock").write_text("\n".join(lock) + "\n")
    (project / ".gitignore").write_text("/data\n/out\n")


def _locked(path: str, content: bytes, md5: str) -> list[str]:
    return [
        f"    - path: {path}",
        "      hash: md5",
        f"      md5: {md5}",
        f"      size: {len(content)}",
    ]


def run_unchanged(here: Round) -> None:
    """Nothing has changed since the last run: how long it takes each tool to find out."""
    begin_all(here)
    for tool in here.tools:
        shutil.copytree(here.data / "project", here.place(tool), dirs_exist_ok=True)
        if tool.name == "dvlite":
            (here.place(tool) / "dvc.yaml").unlink()
            quietly([tool.program, "run", "--accept"], here.place(tool), here.environment)
            shutil.rmtree(here.place(tool) / ".git" / "dvlite" / "top" / "stat")
        else:
            (here.place(tool) / "dvlite.yaml").unlink()
            shutil.copytree(
                here.data / CACHE, here.place(tool) / ".dvc" / "cache", dirs_exist_ok=True
            )
    commit_all(here, "a pipeline")
    for step in (FIRST_LOOK, UNCHANGED):
        for tool in here.tools:
            measure(here, step, _runner(here, tool))


def _runner(here: Round, tool: Tool) -> Runner:
    return Runner(tool.name, [str(tool.program), RUN[tool.name]], here.place(tool))
