"""Say how good `model.npy` is on the test features: `metrics.json` and `predictions.csv`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

NAMES = np.array(["malignant", "benign"])


def main() -> None:
    """The threshold is one half."""
    features, labels = np.load("features/test.npy"), np.load("features/test_labels.npy")
    weights = np.load("model.npy")
    said = 1 / (1 + np.exp(-(features @ weights[:-1] + weights[-1])))
    guessed = (said >= 0.5).astype(int)
    missed = np.sum((guessed == 1) & (labels == 0)) / np.sum(labels == 0)
    metrics = {
        "accuracy": round(float(np.mean(guessed == labels)), 6),
        "malignant": {"missed": round(float(missed), 6), "rows": int(np.sum(labels == 0))},
    }
    Path("metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    pairs = zip(NAMES[labels.astype(int)], NAMES[guessed], strict=True)
    lines = ["actual,predicted", *(f"{actual},{predicted}" for actual, predicted in pairs)]
    Path("predictions.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
