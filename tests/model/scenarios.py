"""The scenarios that are explored: everything at once, and for each rule the least."""

from __future__ import annotations

from dataclasses import replace

from tests.model.protocol import BOTH, SECOND, Scenario

# All that there is: a tree that comes again, one that is sent in part and then whole, another push
# that merges, and two gcs that start three times.
ALL = Scenario(
    jobs=((SECOND,), (-BOTH, BOTH), (0,)), start=(SECOND, BOTH), merges=True, checkpoints=True
)
# The least in which a rule matters. What is not said is left out, so that the loss is found soon.
LEAST = Scenario(
    jobs=((BOTH,),),
    gcs=1,
    runs=2,
    merges=False,
    checkpoints=False,
    deaths=False,
    choices=False,
)
SPECIAL = {
    "order": replace(LEAST, deaths=True),
    "promise": replace(LEAST, start=(SECOND,), deaths=True),
    "closure": replace(LEAST, start=(SECOND,), jobs=((-BOTH, BOTH),)),
    "for ever": replace(LEAST, gcs=2, runs=3),
    "absent": replace(LEAST, gcs=2, runs=3, choices=True),
    "own copies": replace(LEAST, choices=True),
    "merge epoch": replace(LEAST, start=(SECOND, BOTH), jobs=((BOTH,), (0,)), merges=True),
    "hiding": replace(LEAST, start=(SECOND, BOTH), jobs=((SECOND,), (0,)), merges=True),
    "own name": replace(
        LEAST, start=(), jobs=((BOTH,), (BOTH,)), merges=True, checkpoints=True, gcs=0, runs=0
    ),
}
# These save work and lose nothing. Without "young" a push in progress finds its packs condemned,
# sees the new epoch, and sends everything again. Without "name first", whoever dies between leaves
# rows that only readers use, and the next gc names them anew ("lonely").
SAVING = {
    "young": replace(LEAST, start=(SECOND,)),
    "name first": replace(LEAST, deaths=True),
}
