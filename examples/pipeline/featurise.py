"""Scale the columns by what the training table says of them, and write arrays to `features/`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml


def read(path: Path) -> np.ndarray:
    """A table as an array, without its header."""
    return np.loadtxt(path, delimiter=",", skiprows=1)


def main() -> None:
    """The last column is the label, and stays as it is."""
    columns = yaml.safe_load(Path("params.yaml").read_text())["featurise"]["columns"]
    train, test = read(Path("data/train.csv")), read(Path("data/test.csv"))
    mean, spread = train[:, :columns].mean(axis=0), train[:, :columns].std(axis=0)
    Path("features").mkdir(exist_ok=True)
    for name, table in (("train", train), ("test", test)):
        np.save(f"features/{name}.npy", (table[:, :columns] - mean) / spread)
        np.save(f"features/{name}_labels.npy", table[:, -1])


if __name__ == "__main__":
    main()
