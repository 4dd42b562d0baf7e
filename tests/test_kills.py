"""Commands killed at random moments lose nothing and need no repair (a short run)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "torture.py"
# scripts/torture --mode moments --kills 100 is the long run
SHORT = ("--mode", "moments", "--kills", "8", "--files", "120")


@pytest.mark.parametrize("seed", [1])
def test_killed_commands_lose_nothing_and_need_no_repair(own_home: Path, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *SHORT, "--seed", str(seed)],
        capture_output=True,
        text=True,
        cwd=own_home,
    )
    assert done.returncode == 0, done.stdout + done.stderr
