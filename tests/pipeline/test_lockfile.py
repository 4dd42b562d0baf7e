"""`dvlite.lock`: its bytes, what is refused, and merging."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import ConflictError, CorruptError, FormatVersionError
from dvlite.pipeline.lockfile import (
    LockedFile,
    LockedParam,
    LockedStage,
    merge,
    outs_as_pointers,
    parse,
    render,
    render_conflicted,
)

A, B = bytes(range(32)), bytes(32)
LOCK = {
    "train@cnn-0.1": LockedStage(
        ("python train.py", 'echo "ü"'),
        (LockedFile("data/x.csv", "file", A, 12), LockedFile("x", "file", B, 1, revision="v1")),
        (LockedParam("p.yaml", "b", [1, None]), LockedParam("p.yaml", "a", 0.1)),
        (
            LockedFile("model.pt", "file", A, 5, executable=True),
            LockedFile("logs", "tree", B, 7, 3),
            LockedFile("m.json", "file", B, 2, cached=False),
        ),
        "src",
        {"B": "2", "A": "1"},
    ),
    "no": LockedStage(("x",)),
}
GOLDEN = """\
dvlite: 1
stages:
  "no":
    cmd: ["x"]
  train@cnn-0.1:
    cmd: ["python train.py", "echo \\"ü\\""]
    wdir: "src"
    env: {"A": "1", "B": "2"}
    deps:
      - {"path": "data/x.csv", "kind": "file", "oid": "blake3:A", "size": 12}
      - {"path": "x", "rev": "v1", "kind": "file", "oid": "blake3:B", "size": 1}
    params:
      - {"file": "p.yaml", "key": "a", "value": 0.1}
      - {"file": "p.yaml", "key": "b", "value": [1, null]}
    outs:
      - {"path": "logs", "kind": "tree", "oid": "blake3:B", "size": 7, "files": 3}
      - {"path": "m.json", "kind": "file", "oid": "blake3:B", "size": 2, "cached": false}
      - {"path": "model.pt", "kind": "file", "oid": "blake3:A", "size": 5, "executable": true}
""".replace("blake3:A", "blake3:" + A.hex()).replace("blake3:B", "blake3:" + B.hex())


def test_the_bytes_are_these() -> None:
    assert render(LOCK).decode() == GOLDEN


def test_it_is_read_back_and_written_alike() -> None:
    again = parse(GOLDEN.encode())
    assert render(again).decode() == GOLDEN and list(again) == ["no", "train@cnn-0.1"]
    assert parse(GOLDEN.replace("\n", "\r\n").encode()) == again
    assert parse(render({})) == {}


def test_every_reader_of_yaml_understands_it() -> None:
    tree = yaml.safe_load(GOLDEN)
    assert tree["stages"]["train@cnn-0.1"]["outs"][0]["files"] == 3
    assert list(tree["stages"]) == ["no", "train@cnn-0.1"]


def test_what_dvlite_keeps_has_pointers() -> None:
    pointers = outs_as_pointers(parse(GOLDEN.encode()))
    assert set(pointers) == {"logs", "model.pt"}
    assert pointers["logs"].files == 3 and pointers["model.pt"].executable


WRONG = [
    ("", "does not begin"),
    (GOLDEN[:-1], "cut short"),
    (GOLDEN.replace('  "no":', "  no"), "names no stage"),
    (GOLDEN.replace('"size": 12', '"size": -1'), "not valid"),
    (GOLDEN.replace('"size": 12', '"size": true'), "not valid"),
    (GOLDEN.replace('"size": 12', '"size": 12, "more": 1'), "not valid"),
    (GOLDEN.replace("data/x.csv", "../x.csv"), "not valid"),
    (GOLDEN.replace("data/x.csv", "/x.csv"), "not valid"),
    (GOLDEN.replace("model.pt", ".git/hooks/x"), "belongs to git"),
    (GOLDEN.replace("model.pt", "a\\\\b"), "not valid"),
    (GOLDEN.replace('"kind": "tree"', '"kind": "link"'), "not valid"),
    (GOLDEN.replace(A.hex(), "00"), "not valid"),
    (GOLDEN.replace('["x"]', "[]"), "not valid"),
    (GOLDEN.replace('["x"]', '["x'), "not JSON"),
    (GOLDEN.replace('["x"]', "[" * 100_000), "not JSON"),
    (GOLDEN.replace("    outs:", "    cmd:"), "not known"),
    (GOLDEN + "x\n", "not one of a lockfile"),
    (GOLDEN + "  train@cnn-0.1:\n", "there already"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_refused(text: str, said: str) -> None:
    with pytest.raises(CorruptError) as caught:
        parse(text.encode())
    assert said in str(caught.value) and "git checkout" in str(caught.value.hint)


def test_a_newer_version_and_conflicts_are_told_apart() -> None:
    with pytest.raises(FormatVersionError):
        parse(GOLDEN.replace("dvlite: 1", "dvlite: 2").encode())
    with pytest.raises(ConflictError):
        parse(GOLDEN.replace('  "no":', "<<<<<<< ours").encode())


def stage(word: str) -> LockedStage:
    return LockedStage((word,))


def test_stages_are_merged_one_by_one() -> None:
    base = {name: stage("0") for name in "abcde"}
    ours = {**base, "a": stage("1"), "new": stage("n"), "d": stage("1"), "e": stage("1")}
    theirs = {**base, "b": stage("2"), "d": stage("2"), "e": stage("1"), "other": stage("o")}
    del theirs["c"]
    merged, conflicts = merge(base, ours, theirs)
    assert conflicts == ["d"] and "c" not in merged
    assert {name: one.commands[0] for name, one in merged.items()} == {
        "a": "1",
        "b": "2",
        "d": "1",
        "e": "1",
        "new": "n",
        "other": "o",
    }


def test_what_conflicts_stands_between_markers() -> None:
    text = render_conflicted({"a": stage("1")}, {"b": (stage("2"), None)}).decode()
    assert text.splitlines()[4:] == [
        "<<<<<<< ours",
        "  b:",
        '    cmd: ["2"]',
        "=======",
        ">>>>>>> theirs",
    ]
    with pytest.raises(ConflictError):
        parse(text.encode())


LINES = [
    "  a:",
    '    cmd: ["x"]',
    "    deps:",
    '      - {"path": "x"}',
    "    outs:",
    "x",
    "    env: {}",
]


@given(st.lists(st.sampled_from(LINES) | st.text(max_size=30), max_size=12))
def test_any_lines_are_read_or_refused(lines: list[str]) -> None:
    try:
        found = parse(("dvlite: 1\nstages:\n" + "".join(line + "\n" for line in lines)).encode())
    except (CorruptError, ConflictError):
        return
    assert parse(render(found)) == found
