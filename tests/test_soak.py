"""Four clones with one cache and one bucket, killed at random while gc deletes (a short run)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.servers.s3 import S3Server

SCRIPT = Path(__file__).parents[1] / "scripts" / "soak.py"
# scripts/soak --minutes 10 is the long run


def test_four_clones_and_gcs_lose_nothing_in_a_minute(own_home: Path, s3_remote: S3Server) -> None:
    words = ["--minutes", "1", "--seed", "1"]
    words += ["--remote", s3_remote.new_url(), "--endpoint", s3_remote.endpoint]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, cwd=own_home
    )
    assert done.returncode == 0, done.stdout + done.stderr
