"""A process that tries points: started with the shim in front of its C library.

Reads one JSON line an order from standard input and answers with one. It starts no threads, so
that it can fork commands.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.torture.power import try_crashes
from tests.torture.shim import Point
from tests.torture.stage import Stage, import_everything
from tests.torture.trial import Trials


def main() -> None:
    import_everything()
    trials = Trials(Stage(Path(sys.argv[1])))
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        print(json.dumps(_obey(trials, order)), flush=True)


def _obey(trials: Trials, order: dict[str, Any]) -> dict[str, Any]:
    try:
        if order["do"] == "points":
            return {"points": trials.points(order["scene"], order["error"])}
        if order["do"] == "power":
            return try_crashes(trials, order["scene"], order["seed"], order["sample"])
        point = Point(order["mode"], order["number"], order["error"], order["always"])
        wrong = trials.try_point(order["scene"], point)
        return {"wrong": wrong, "what": trials.what, "fired": trials.fired}
    except Exception as error:  # told by whoever ordered it, with the order
        wrong = f"the trial itself: {type(error).__name__}: {error}"
        return {"wrong": [wrong], "what": "", "fired": True, "points": 0}


if __name__ == "__main__":
    main()
