"""Changes bytes as a fuzzer does: flips, numbers at the edges, cuts, copies, words of the format.

Blind to coverage; where `atheris` is installed, `scripts/fuzz` uses that.
"""

from __future__ import annotations

from random import Random

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_WORDS = (
    b"\0",
    b"\n",
    b"\r\n",
    b": ",
    b"../",
    b".git",
    b"9" * 30,
    b"9" * 5000,
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"{",
    b"[" * 200,
    b"]",
    b'"',
    b"'",
    b"\\",
    b"\\u0000",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xe2\x80\x8c",
    b"&a [*a]",
    b"!!python/object/apply:os.system ['x']",
    b"<<: ",
    b"<<<<<<< x\n",
    b"blake3:",
    b"\x1b[2J",
    b"*" * 9,
)
MOST_BYTES = 8192


def mutated(random: Random, seeds: tuple[bytes, ...]) -> bytes:
    """A changed copy of a seed; now and then one of nothing, or two put together."""
    data = bytearray(random.choice(seeds))
    if random.random() < 0.01:
        data = bytearray(random.randbytes(random.randrange(200)))
    for _ in range(1 + min(int(random.expovariate(0.5)), 12)):
        _change(random, data, seeds)
    return bytes(data[:MOST_BYTES])


def _change(random: Random, data: bytearray, seeds: tuple[bytes, ...]) -> None:
    at = random.randrange(len(data) + 1)
    what = random.randrange(8)
    if what == 0 and at < len(data):
        data[at] ^= 1 << random.randrange(8)
    elif what == 1 and at < len(data):
        data[at] = random.randrange(256)
    elif what == 2:
        width = random.choice((1, 2, 4, 8))
        number = random.choice(_EDGES) & (256**width - 1)
        data[at : at + width] = number.to_bytes(width, random.choice(("little", "big")))
    elif what == 3:
        del data[at : at + random.randrange(1, 40)]
    elif what == 4:
        data[at:at] = random.choice(_WORDS)
    elif what == 5:
        length = random.randrange(1, 60)
        data[at:at] = data[max(0, at - length) : at] * random.choice((1, 1, 1, 2, 20))
    elif what == 6:
        other = random.choice(seeds)
        start = random.randrange(len(other) + 1)
        data[at:] = other[start:]
    else:
        del data[at:]
