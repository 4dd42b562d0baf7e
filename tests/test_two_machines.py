"""Two machines that push at once, with kills, lose nothing (a short run)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.servers.s3 import S3Server

SCRIPT = Path(__file__).parents[1] / "scripts" / "contend.py"
# scripts/contend --rounds 50 is the long run


def contend(home: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--seed", "1", *words],
        capture_output=True,
        text=True,
        cwd=home,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"clean": true' in done.stdout


def test_two_machines_push_to_one_folder(own_home: Path) -> None:
    contend(own_home, "--rounds", "3")


def test_two_machines_push_to_one_bucket(own_home: Path, s3_remote: S3Server) -> None:
    contend(
        own_home, "--rounds", "2", "--remote", s3_remote.new_url(), "--endpoint", s3_remote.endpoint
    )
