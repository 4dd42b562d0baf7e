"""The base: golden bytes, every path survives, damage is never overlooked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.workspace.base import Base, load, quote, save, unquote
from dvlite.workspace.pointer import Pointer

TREE = Pointer("tree", b"\x01" * 32, 12, 3)
FILE = Pointer("file", b"\x02" * 32, 5, 1, executable=True)
GOLDEN = (
    "dvlite base 1\n"
    f"exec {'02' * 32} 5 1 b%0Ac/m.bin\n"
    f"tree {'01' * 32} 12 3 images\n"
    f"begun-tree {'01' * 32} 12 3 images\n"
    "end 3\n"
)


def whole() -> Base:
    return Base({"images": TREE, "b\nc/m.bin": FILE}).beginning({"images": TREE})


def test_the_bytes_of_a_base_never_change(tmp_path: Path) -> None:
    save(str(tmp_path / "base"), whole())
    assert (tmp_path / "base").read_text() == GOLDEN
    assert load(str(tmp_path / "base")) == whole()


def test_a_missing_base_is_empty_and_a_newer_one_refused(tmp_path: Path) -> None:
    assert load(str(tmp_path / "base")) == Base()
    (tmp_path / "base").write_text(GOLDEN.replace("base 1", "base 2"))
    with pytest.raises(FormatVersionError):
        load(str(tmp_path / "base"))


@pytest.mark.parametrize("line", range(5))
def test_a_lost_line_is_noticed(tmp_path: Path, line: int) -> None:
    lines = GOLDEN.splitlines(keepends=True)
    (tmp_path / "base").write_text("".join(lines[:line] + lines[line + 1 :]))
    with pytest.raises(CorruptError):
        load(str(tmp_path / "base"))


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_name_is_quoted_on_one_plain_line_and_back(name: bytes) -> None:
    text = quote(os.fsdecode(name))
    assert text.isascii() and text.isprintable()
    assert os.fsencode(unquote(text)) == name


def test_what_is_in_step_again_is_not_begun_any_more() -> None:
    base = whole().updated({"images": TREE})
    assert not base.begun
    assert base.updated({"images": None}).get("images") is None
