"""What training and scoring share: reading the pictures, and the model's file.

The model is a logistic regression, so its file is two arrays of numbers in numpy's `.npz`
form. Loading it runs no code, unlike a pickle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

# Every fifth picture is kept from training; the number in its name decides, so that a picture
# never moves from one side to the other when data is added.
HELD_OUT_EVERY = 5


def read_pictures(folder: Path, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return (pixels, labels) of the training pictures, or of those held out, in name order."""
    paths = sorted((folder / "digits").glob("*/*.png"), key=lambda path: path.name)
    chosen = [path for path in paths if (int(path.stem) % HELD_OUT_EVERY == 0) == held_out]
    pixels = np.array([np.asarray(Image.open(path)).ravel() / 240 for path in chosen])
    return pixels, np.array([int(path.parent.name) for path in chosen])


def save(path: Path, weights: np.ndarray, bias: np.ndarray) -> None:
    """Write the model: `weights` (10 x 64) and `bias` (10)."""
    np.savez(path, weights=weights, bias=bias)


def accuracy(path: Path, folder: Path) -> float:
    """How many of the held-out digits in a folder the saved model names right, 0 to 1."""
    pixels, labels = read_pictures(folder, held_out=True)
    with np.load(path, allow_pickle=False) as model:
        named = np.argmax(pixels @ model["weights"].T + model["bias"], axis=1)
    return float(np.mean(named == labels))
