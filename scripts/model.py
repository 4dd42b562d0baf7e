"""Explores the model of the epoch protocol (tests/model) further than the tests do.

Each scenario up to so many states, breadth first; or with a rule left out, which has to lose
something. A state takes about 150 bytes of memory.

    scripts/model --states 5000000
    scripts/model --without recheck
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.model.explorer import Explorer, Found
from tests.model.protocol import RULES, Scenario
from tests.model.scenarios import ALL, LEAST, SAVING, SPECIAL


def explore(name: str, scenario: Scenario, states: int) -> Found:
    """One scenario, and a line about it."""
    begin = time.process_time()
    found = Explorer(scenario).explore(states)
    extent = "all there are" if found.complete else "not all"
    print(f"{name}: {found.states:,} states ({extent}), {time.process_time() - begin:.0f} s")
    if found.trace is not None:
        print(*found.trace, sep="\n  ")
    sys.stdout.flush()
    return found


def main() -> int:
    """0 when nothing was lost; with a rule left out, when something was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=3_000_000, help="of each scenario")
    parser.add_argument("--without", choices=sorted(RULES), help="a rule to leave out")
    options = parser.parse_args()
    if options.without:
        scenario = {**SPECIAL, **SAVING}.get(options.without, LEAST)
        left_out = replace(scenario, without=options.without)
        found = explore(RULES[options.without], left_out, options.states)
        return int(found.trace is None)
    scenarios = {"everything": ALL, "least": LEAST, **SPECIAL}
    return int(any(explore(*item, options.states).trace for item in scenarios.items()))


if __name__ == "__main__":
    sys.exit(main())
