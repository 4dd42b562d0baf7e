"""Files of parameters: each kind says the same, and none is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import PipelineError
from dvlite.pipeline.params import NoSuchKeyError, flatten, lookup, read_params

SAME = {"lr": 0.001, "net": {"depth": 3, "names": ["a", "b"], "wide": True, "none": None}}
KINDS = {
    "p.yaml": "lr: 1e-3\nnet: {depth: 3, names: [a, b], wide: true, none: }\n",
    "p.json": '{"lr": 0.001, "net": {"depth": 3, "names": ["a","b"], "wide": true, "none": null}}',
    "p.py": "lr: float = 1e-3\nclass net:\n  depth = 3\n  names = ('a', 'b')\n"
    "  def __init__(self):\n    self.wide = True\n    self.none = None\n",
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_says_the_same(name: str) -> None:
    assert read_params(KINDS[name].encode(), name) == SAME


def test_toml_says_it_too() -> None:
    text = b'lr = 0.001\nday = 2024-01-01\n[net]\ndepth = 3\nnames = ["a", "b"]\n'
    found = read_params(text, "p.toml")
    assert found == {"lr": 0.001, "day": "2024-01-01", "net": {"depth": 3, "names": ["a", "b"]}}


def test_yaml_means_what_version_1_2_means() -> None:
    found = read_params(b"a: no\nb: 2024-01-01\nc: 0o17\nd: 1_000\ne: .5\nf: '1'\ng: 007\n", "p")
    assert found == {
        "a": "no",
        "b": "2024-01-01",
        "c": 15,
        "d": "1_000",
        "e": 0.5,
        "f": "1",
        "g": 7,
    }


def test_python_is_never_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    text = (
        f"import os\nopen({str(victim)!r}, 'w')\nA = -1\nB = os.getcwd()\nC = [1, f()]\nD = {{1}}"
    )
    assert read_params(text.encode(), "p.py") == {"A": -1, "D": [1]}
    assert not victim.exists()


def test_keys_lead_through_mappings_and_lists() -> None:
    tree = {"a": {"b": [{"c": 1}, {"c": 2}], "x.y": 3}, "d.e": 4}
    assert lookup(tree, "a.b[1].c") == lookup(tree, "a.b.1.c") == lookup(tree, "a.b[-1].c") == 2
    assert lookup(tree, "a.x.y") == 3 and lookup(tree, "d.e") == 4
    for key in ("a.c", "a.b[2]", "a.b.c", "", "a..q"):
        if key:
            with pytest.raises(NoSuchKeyError):
                lookup(tree, key)


def test_leaves_have_dotted_keys() -> None:
    tree = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 1}, 2], "f": {}}
    assert dict(flatten(tree)) == {"a.b": 1, "a.c": [1, 2], "d.0.e": 1, "d.1": 2, "f": {}}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("p.json", b"{", "p.json:1:2: this is not JSON"),
        ("p.json", b"[" * 100_000, "nested too deeply"),
        ("p.toml", b"a = ", "p.toml cannot be read"),
        ("p.py", b"a = (", "p.py:1: this is not Python"),
        ("p.py", b"a = " + b"(" * 5000, "this is not Python"),
        ("p.yaml", b"a: [", "this is not YAML"),
        ("p.yaml", b"\xff", "not UTF-8"),
        ("p.json", b"\xff\xff", "not UTF-8"),
        ("p.yaml", b"x" * (17 << 20), "larger than"),
        ("p.json", b"9" * 5000, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, data: bytes, said: str) -> None:
    with pytest.raises(PipelineError, match=r"^p\.") as caught:
        read_params(data, name)
    assert said in str(caught.value)


@given(st.sampled_from(["p.yaml", "p.json", "p.toml", "p.py"]), st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    try:
        dict(flatten(read_params(data, name)))
    except PipelineError as error:
        assert name in str(error)
