"""The path of `dvlite add FILE` through the code stays short, and the design page tells it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.repositories import Repository

ROOT = Path(__file__).parent.parent
MOST_FILES = 20

# Runs in a process of its own: a profiler sees every call of ours, also on other threads. The
# bodies of modules and classes run when they are imported, so they do not count.
TRACER = """
import inspect, os, sys, threading
package = os.path.dirname(os.path.abspath(__import__("dvlite").__file__)) + os.sep
entered = set()

def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_flags & inspect.CO_OPTIMIZED:
        if code.co_filename.startswith(package):
            entered.add("dvlite/" + code.co_filename[len(package):].replace(os.sep, "/"))

from dvlite.cli.main import main
sys.setprofile(note)
threading.setprofile(note)
try:
    main(["add", "notes.txt"])
except SystemExit as end:
    assert not end.code, end.code
finally:
    sys.setprofile(None)
print("ENTERED", *sorted(entered))
"""


def test_adding_a_file_enters_few_files_and_the_design_page_lists_them(
    repository: Repository,
) -> None:
    (repository.path / "notes.txt").write_text("a few words\n")
    done = subprocess.run(
        [sys.executable, "-c", TRACER],
        cwd=repository.path,
        capture_output=True,
        text=True,
        check=True,
    )
    entered = done.stdout.partition("ENTERED ")[2].split()
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\d+\. `(dvlite/[a-z/]+\.py)`", page, re.MULTILINE)
    assert sorted(listed) == entered
    assert len(entered) <= MOST_FILES
