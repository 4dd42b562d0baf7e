"""Loopback made as slow as a network, for one port; needs root and Linux's `tc`."""

from __future__ import annotations

from contextlib import AbstractContextManager

from bench.held import UNTIL_WE_END, held

# One class each way, as on a full-duplex link; what matches no filter passes unshaped. Packets on
# loopback are up to 64 KB, so the burst is several of them. `add` fails where somebody else
# shapes loopback already, and then nothing is touched.
SHAPE = f"""
PATH=$PATH:/usr/sbin:/sbin
tc qdisc add dev lo root handle 1: htb
trap 'tc qdisc del dev lo root handle 1:' EXIT
for way in 1:dport 2:sport; do
    tc class add dev lo parent 1: classid 1:${{way%:*}} htb rate $2 burst 512kb cburst 512kb
    tc filter add dev lo parent 1: protocol ip u32 \\
        match ip protocol 6 0xff match ip ${{way#*:}} $1 0xffff flowid 1:${{way%:*}}
done
{UNTIL_WE_END}
"""
GIGABIT = "1gbit"


def shaped(port: int, rate: str = GIGABIT) -> AbstractContextManager[None]:
    """Limit all TCP traffic to and from a port on loopback. Raises: CannotHold."""
    return held(SHAPE, str(port), rate)
