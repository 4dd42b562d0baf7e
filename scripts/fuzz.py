"""Feeds parsers with broken and forged bytes, for as long as is asked.

Each target gets a process of its own, with bounded memory. What raises anything but an error of
ours, or takes longer than a second, is written to the folder of findings and told at the end. With
`atheris` installed (`pip install 'dvlite[fuzz]'`) inputs that reach new code are kept and changed
further; else, or with `--blind`, valid examples are changed at random, several times faster.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from random import Random

MEMORY_BYTES = 2 << 30
SLOW_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--executions", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--target", action="append", help="only this one (several times: these)")
    parser.add_argument("--seed", type=int, default=None, help="to have the same run again")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="where to put")
    parser.add_argument("--blind", action="store_true", help="without atheris")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments)
    from tests.fuzzing.targets import TARGETS

    names = arguments.target or list(TARGETS)
    unknown = set(names) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are: {', '.join(TARGETS)}")
    return supervise(arguments, names)


def supervise(arguments: argparse.Namespace, names: list[str]) -> int:
    """Runs the targets one after the other; 1 where something was found."""
    arguments.findings.mkdir(parents=True, exist_ok=True)
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    each = max(1, arguments.executions // len(names))
    failed = []
    for name in names:
        start = time.monotonic()
        words = [sys.executable, __file__, "--worker", name, "--executions", str(each)]
        words += ["--seed", str(seed), "--findings", str(arguments.findings)]
        words += ["--blind"] if arguments.blind else []
        done = subprocess.run(words, capture_output=True)
        took = time.monotonic() - start
        print(f"{name:20} {each:>10,} executions in {took:7.1f} s: {_verdict(done)}", flush=True)
        if done.returncode:
            failed.append(name)
            print(os.fsdecode(done.stdout + done.stderr)[-3000:], flush=True)
    found = sorted(path.name for path in arguments.findings.iterdir())
    print(f"seed {seed}; {each * len(names):,} executions; findings: {', '.join(found) or 'none'}")
    return 1 if failed or found else 0


def _verdict(done: subprocess.CompletedProcess[bytes]) -> str:
    return "ok" if done.returncode == 0 else f"ended with {done.returncode}"


def work(arguments: argparse.Namespace) -> int:
    """One target, in this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if arguments.blind or find_spec("atheris") is None:
        return work_blind(arguments)
    return work_with_atheris(arguments)


def work_blind(arguments: argparse.Namespace) -> int:
    from tests.fuzzing.mutator import mutated
    from tests.fuzzing.targets import TARGETS

    target = TARGETS[arguments.worker]
    random = Random(f"{arguments.seed} {arguments.worker}")
    run = _checked(arguments, target.run)
    for _ in range(arguments.executions):
        run(mutated(random, target.seeds))
    return 0


def _checked(
    arguments: argparse.Namespace, target: Callable[[bytes], object]
) -> Callable[[bytes], None]:
    """The target, with what is no error of ours written down, once for each kind of error."""
    from dvlite.errors import DvliteError

    def run(data: bytes) -> None:
        start = time.monotonic()
        try:
            target(data)
        except DvliteError:
            pass
        except Exception as error:
            _write_down(arguments, _kind(error), data)
        if time.monotonic() - start > SLOW_S:
            before = time.process_time()
            with suppress(DvliteError):
                target(data)
            if time.process_time() - before > SLOW_S:  # not only because others wanted the CPU
                _write_down(arguments, "slow", data)

    return run


def _kind(error: Exception) -> str:
    """The error's type, and where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).stem}-{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}-{where}"


def _write_down(arguments: argparse.Namespace, kind: str, data: bytes) -> None:
    path = arguments.findings / f"{arguments.worker}-{kind}"
    if not path.exists():
        path.write_bytes(data)
        print(f"{path.name}: {hashlib.sha256(data).hexdigest()[:12]}", flush=True)


def work_with_atheris(arguments: argparse.Namespace) -> int:
    import atheris

    with atheris.instrument_imports(include=["dvlite", "yaml", "tomllib"]):
        from tests.fuzzing.targets import TARGETS

    target = TARGETS[arguments.worker]
    corpus = arguments.findings.parent / f"{arguments.findings.name}-corpus" / arguments.worker
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-runs={arguments.executions}", f"-seed={arguments.seed % 2**31}", "-max_len=8192"]
    atheris.Setup(
        [sys.argv[0], str(corpus), *options, "-rss_limit_mb=0", "-verbosity=0"],
        _checked(arguments, target.run),
    )
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
