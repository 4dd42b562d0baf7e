"""Write scikit-learn's handwritten digits as pictures and a table.

    python prepare.py [--first N]

`digits/<label>/<number>.png` is one picture (8 x 8 grey pixels), `digits.csv` the table of all
of them: file, label and mean brightness. Run again with another `--first` to make a second
version of the data: pictures that no longer belong are removed, the others stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

DATA, TABLE = Path("digits"), Path("digits.csv")


def png(picture: np.ndarray) -> bytes:
    """One picture as a PNG file; scikit-learn's brightness 0-16 becomes 0-240."""
    content = io.BytesIO()
    Image.fromarray((picture * 15).astype(np.uint8)).save(content, format="png")
    return content.getvalue()


def write_if_new(path: Path, content: bytes) -> None:
    """Leave a file alone that already holds this, so that its time stamp stays."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_digits(first: int | None) -> int:
    """Write the first pictures (default: all 1,797) and the table; return how many."""
    digits = load_digits()
    rows, wanted = [], set()
    for number, (picture, label) in enumerate(
        zip(digits.images[:first], digits.target[:first], strict=True)
    ):
        path = DATA / str(label) / f"{number:04d}.png"
        write_if_new(path, png(picture))
        wanted.add(path)
        rows.append((path.as_posix(), label, f"{picture.mean():.4f}"))
    for path in DATA.glob("*/*.png"):
        if path not in wanted:
            path.unlink()
    with TABLE.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "label", "brightness"), *rows])
    return len(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the handwritten digits as PNG files.")
    parser.add_argument("--first", type=int, help="only the first N pictures (default: all)")
    print(f"wrote {write_digits(parser.parse_args().first)} pictures to {DATA}/ and {TABLE}")
