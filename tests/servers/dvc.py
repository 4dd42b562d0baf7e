"""DVC itself, in an environment of its own, for tests that take its repositories over.

`DVLITE_TEST_DVC` may name its program; else one on PATH, else it is installed once into the
user's cache folder, which takes a minute.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import venv
from pathlib import Path

_INSTALL_S = 600
_PACKAGE = "dvc[s3]>=3.50,<4"


def program() -> str | None:
    """Where DVC is; None when it cannot be had."""
    named = os.environ.get("DVLITE_TEST_DVC") or shutil.which("dvc")
    if named and Path(named).exists():
        return named
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dvlite-tests"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "dvc.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _installed(cache / "dvc")
    except (OSError, subprocess.SubprocessError):
        return None


def _installed(folder: Path) -> str:
    found = folder / "bin" / "dvc"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", _PACKAGE]
        subprocess.run(pip, check=True, capture_output=True, timeout=_INSTALL_S)
        (folder / "complete").touch()
    return str(found)
