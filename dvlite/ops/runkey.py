"""What names a run: all that decides what it makes."""

from __future__ import annotations

import json

from blake3 import blake3

from dvlite.pipeline.lockfile import LockedStage
from dvlite.pipeline.stage import Out, Stage

_CONTEXT = "dvlite 1 run"
# The name that a stage has in a record: the same run counts whatever the stage is called.
ANY_STAGE = "run"


def run_key(stage: Stage, inputs: LockedStage) -> str:
    """Names a run by all that decides what it makes: 64 hex digits."""
    described = {
        "cmd": list(inputs.commands),
        "wdir": inputs.wdir,
        "env": dict(inputs.env),
        "deps": [[one.path, one.revision, one.kind, one.oid.hex()] for one in inputs.deps],
        "params": [[one.file, one.key, one.value] for one in inputs.params],
        "outs": sorted(out.path for out in stage.outs),
    }
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), default=str)
    return blake3(text.encode("utf-8", "surrogatepass"), derive_key_context=_CONTEXT).hexdigest()


def key_of(locked: LockedStage) -> str:
    """The same key from what a lockfile says alone."""
    outs = tuple(Out(one.path) for one in locked.outs)
    return run_key(Stage(ANY_STAGE, tuple(locked.commands), outs=outs), locked)
