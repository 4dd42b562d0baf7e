"""Breaks dvlite at every point at which it changes a file, and checks that nothing is lost.

A library between each program and the C library counts every call that changes a file (of dvlite,
its threads, and the git that it starts). Each trial starts from the same small repository and
breaks one command at one point:

    kill      the process group gets SIGKILL (a write is two points: before it, and half done)
    enospc    the call fails: the disk is full; alternately once, and from then on
    eio       the same for a broken disk
    power     the power fails: what was not made durable is lost, in several ways
    moments   SIGKILL at random moments, amid a longer history

Then everything visible in caches and remotes is verified, every file of the workspace has to be as
it was or as the command makes it, `dvlite status` and the same command again have to work, and the
end has to be what an undisturbed run gives.

    scripts/torture                             all points, by kill
    scripts/torture --mode enospc --sample 500  some of them
    scripts/torture --mode kill --commands add-new,push-more --points 17
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.torture import moments
from tests.torture.campaign import MODES, Campaign, Found, Order, choose, table
from tests.torture.scenes import SCENES
from tests.torture.shim import compiler


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="kill", choices=[*MODES, "power", "moments"])
    parser.add_argument("--commands", help="scenes or verbs, with commas (default: all)")
    parser.add_argument("--points", help="only these points: 3,7,10-20")
    parser.add_argument("--sample", type=int, help="so many points at random; power: of each")
    parser.add_argument("--always", action="store_true", help="every call from the point on fails")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", help="where to work (default: in memory, where possible)")
    parser.add_argument("--keep", action="store_true", help="keep the folder afterwards")
    parser.add_argument("--kills", type=int, default=100, help="moments: stop after so many")
    parser.add_argument("--files", type=int, default=400, help="moments: files in a folder")
    return parser.parse_args()


def main() -> int:
    """Tries what was asked for; 0 when every promise held."""
    options = parse()
    if options.mode == "moments":
        return moments.run(options.kills, options.seed, options.files, options.keep)
    if compiler() is None:
        print("NOT TESTED: no C compiler (apt-get install gcc)")
        return 1
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(options.folder or tempfile.mkdtemp(prefix="dvlite-torture-", dir=memory))
    folder.mkdir(exist_ok=True)
    print(f"seed {options.seed}, folder {folder}", flush=True)
    begin = time.monotonic()
    try:
        with Campaign(folder, options.jobs) as campaign:
            found = campaign.run(orders(campaign, options), lambda text: print(text, flush=True))
    finally:
        if not options.keep:
            subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
            shutil.rmtree(folder)
    return report(found, time.monotonic() - begin)


def orders(campaign: Campaign, options: argparse.Namespace) -> list[Order]:
    asked = options.commands.split(",") if options.commands else None
    scenes = [s.name for s in SCENES if asked is None or s.name in asked or s.verb in asked]
    if not scenes:
        sys.exit(f"there is no scene {options.commands}; {', '.join(s.name for s in SCENES)}")
    if options.mode == "power":
        sample = options.sample or 40
        return [Order(scene, "power", sample, seed=options.seed) for scene in scenes]
    points = campaign.points(scenes, options.mode)
    if options.points:
        wanted = numbers(options.points)
        return [Order(scene, options.mode, n, options.always) for scene in scenes for n in wanted]
    if options.mode == "kill":
        return choose(points, "kill", options.sample, options.seed)
    half = options.sample // 2 if options.sample else None
    return [
        order
        for always in (False, True)
        for order in choose(points, options.mode, half, options.seed, always)
    ]


def numbers(text: str) -> list[int]:
    """`3,7,10-12` as numbers."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def report(found: Found, seconds: float) -> int:
    print(table(found))
    print(f"{sum(found.tried.values())} trials in {seconds:.0f} s, {len(found.failures)} failed")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())
