"""The shim sees what strace sees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repositories import Repository
from tests.torture.shim import TRACE, Control, Point, build, compiler

_CALLS = (
    "write,pwrite64,writev,pwritev,pwritev2,ftruncate,copy_file_range,sendfile,fsync,fdatasync,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat"
)
# `write(5</a/b>, ...) = 7`; `mkdirat(AT_FDCWD</a>, "b", 0777) = 0`; `rename("/a", "b") = 0`
_CALL = re.compile(r"(?:\[pid +\d+\] |\d+ +)?(?:<\.\.\. )?(\w+)\((.*)\) += (?!-1)\w+")
_PLACE = re.compile(r'<(/[^>]*)>(?:, "((?:[^"\\]|\\.)*)")?|"((?:[^"\\]|\\.)*)"')
_WRITING = ("write", "pwrite64", "writev", "ftruncate", "fsync", "fdatasync", "sendfile")


def seen_by_strace(text: str, top: Path) -> set[str]:
    """Every path below `top` that a call changed."""
    found = set()
    for line in text.splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        places = list(_PLACE.finditer(call[2]))
        if call[1] in _WRITING:
            places = [place for place in places[:1] if place[1]]
        for place in places:
            name = place[2] or place[3] or ""
            if call[1] in _WRITING:
                name = ""
            path = os.path.normpath(os.path.join(place[1] or str(top), name))
            if path.startswith(f"{top}/"):
                found.add(path.removesuffix(" (deleted)"))
    return found


@pytest.mark.parametrize("words", [("add", "data", "big"), ("push",), ("mv", "data", "moved")])
def test_no_call_that_changes_a_file_is_overlooked(
    repository: Repository, tmp_path: Path, words: tuple[str, ...]
) -> None:
    if compiler() is None or shutil.which("strace") is None or not sys.platform.startswith("linux"):
        pytest.skip("NOT TESTED: what the shim sees (needs Linux, strace and a C compiler)")
    files = {f"data/f{n}": b"%d" % n for n in range(70)}
    repository.write({**files, "big": bytes(range(256)) * 4000})
    if words[0] != "add":
        repository.dvlite("add", "data", "big")
    control = Control(tmp_path / "control", tmp_path, Point(TRACE), 16 << 20)
    log = tmp_path.parent / f"{tmp_path.name}.strace"
    environment = {"LD_PRELOAD": str(build(tmp_path.parent)), "TORTURE_CONTROL": str(control.path)}
    given = [word for pair in environment.items() for word in ("-E", "=".join(pair))]
    command = ["strace", "-f", "-y", "-qq", "-o", str(log), "-e", f"trace={_CALLS}", *given]
    done = subprocess.run(
        [*command, sys.executable, "-m", "dvlite", *words],
        cwd=repository.path,
        capture_output=True,
        text=True,
    )
    if "ptrace" in done.stderr:
        pytest.skip("NOT TESTED: what the shim sees (strace may not trace here)")
    assert done.returncode == 0, done.stderr
    noted = {path for one in control.records() for path in (one.path, one.other) if path}
    control.close()
    seen = seen_by_strace(log.read_text(errors="replace"), tmp_path)
    assert len(seen) > 10
    assert seen - noted == set()
