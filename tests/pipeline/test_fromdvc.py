"""DVC's pipelines become ours, and what cannot is named."""

from __future__ import annotations

from dvlite.pipeline.fromdvc import Converted, convert
from dvlite.pipeline.stage import Pipeline
from dvlite.pipeline.stagefile import load

PLAIN = b"""\
# made with care
vars:
  - config.yaml
stages:
  prepare:
    cmd: python prepare.py ${size}
    deps: [prepare.py, raw]   # two
    outs:
      - clean:
          persist: true
  train:
    foreach: [a, b]
    do:
      cmd: python train.py ${item}
      params: [lr, {other.json: }]
      metrics:
        - m-${item}.json:
            cache: false
plots:
  - loss.csv: {x: step}
"""
OTHERS = {"config.yaml": b"size: 3\n"}


def converted(files: dict[str, bytes], **others: bytes) -> tuple[Converted, Pipeline]:
    result = convert(files, lambda path: {**OTHERS, **others}.get(path))

    def read(path: str) -> bytes | None:
        return result.data if path == "dvlite.yaml" else {**OTHERS, **others}.get(path)

    return result, load(read)


def test_a_plain_pipeline_is_taken_as_it_is() -> None:
    result, pipeline = converted({"dvc.yaml": PLAIN})
    assert result.data == PLAIN and not result.lost
    assert list(pipeline.stages) == ["prepare", "train@a", "train@b"]
    assert result.names["dvc.yaml", "train"] == "train"


def test_what_has_no_counterpart_is_left_out_and_named() -> None:
    text = b"""
stages:
  a:
    cmd: x
    deps: [s3://bucket/x, y]
    outs:
      - o: {remote: far, push: false, cache: false}
      - s3://bucket/z
      - p: {push: true}
artifacts: {m: {path: o}}
"""
    result, pipeline = converted({"dvc.yaml": text})
    assert sorted(result.lost) == [
        ("dvc.yaml", "artifacts has no counterpart"),
        ("dvc.yaml: a", "it depends on s3://bucket/x, outside the repository"),
        ("dvc.yaml: a", "it makes s3://bucket/z, outside the repository"),
        ("dvc.yaml: a", "o: push has no counterpart"),
        ("dvc.yaml: a", "o: remote has no counterpart"),
    ]
    stage = pipeline.stages["a"]
    assert [dep.path for dep in stage.deps] == ["y"]
    assert [(out.path, out.cached) for out in stage.outs] == [("o", False), ("p", True)]


def test_several_files_become_one() -> None:
    result, pipeline = converted(
        {
            "dvc.yaml": b"stages: {a: {cmd: x, outs: [data]}}\nmetrics: [m.json]\n",
            "sub/dvc.yaml": b"stages:\n  a: {cmd: y, deps: [../data], outs: [o]}\n"
            b"  b: {cmd: z, wdir: deep, outs: [o]}\nplots: [p.csv, {q.csv: {x: s}}]\n",
        }
    )
    assert not result.lost
    assert result.names["sub/dvc.yaml", "a"] == "sub-a"
    assert result.wdirs["sub/dvc.yaml", "b"] == "sub/deep"
    assert pipeline.stages["sub-a"].deps[0].path == "data"
    assert pipeline.stages["b"].outs[0].path == "sub/deep/o"
    assert [plot.path for plot in pipeline.plots] == ["sub/p.csv", "sub/q.csv"]


def test_what_is_no_pipeline_is_named_and_nothing_is_made() -> None:
    for text in (b"[1]", b"a: [", b"stages: {a: {cmd: ''}}", b"stages: {a: {cmd: x, deps: [/x]}}"):
        result = convert({"dvc.yaml": text}, lambda path: None)
        assert result.data is None and result.lost
