"""Score a saved model against the digits beside it: python score.py [FOLDER].

Prints the accuracy on the held-out digits. FOLDER holds `model.npz` and `digits/`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from model import accuracy

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Score a saved model against its digits.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="default: here")
    folder = parser.parse_args().folder
    print(f"accuracy: {accuracy(folder / 'model.npz', folder):.6f}")
