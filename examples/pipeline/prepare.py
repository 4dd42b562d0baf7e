"""Write scikit-learn's breast cancer data as `data/train.csv` and `data/test.csv`."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml
from sklearn.datasets import load_breast_cancer


def write(path: Path, header: list[str], rows: list[list[float]]) -> None:
    """One table, with the label in its last column."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    """Every n-th row goes to the test table, so that rows never move when others come."""
    every = yaml.safe_load(Path("params.yaml").read_text())["prepare"]["test_every"]
    found = load_breast_cancer()
    header = [*(name.replace(" ", "_") for name in found.feature_names), "benign"]
    rows = [
        [*row, int(label)]
        for row, label in zip(found.data.tolist(), found.target.tolist(), strict=True)
    ]
    Path("data").mkdir(exist_ok=True)
    write(Path("data/train.csv"), header, [row for at, row in enumerate(rows) if at % every])
    write(Path("data/test.csv"), header, [row for at, row in enumerate(rows) if not at % every])


if __name__ == "__main__":
    main()
