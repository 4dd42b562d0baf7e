"""Train a logistic regression, and write `model.npy` and how the loss fell, `loss.csv`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml


def main() -> None:
    """Gradient descent from zero: the same numbers each time."""
    params = yaml.safe_load(Path("params.yaml").read_text())["train"]
    features, labels = np.load("features/train.npy"), np.load("features/train_labels.npy")
    inputs = np.hstack([features, np.ones((len(features), 1))])
    weights = np.zeros(inputs.shape[1])
    lines = ["step,loss"]
    for step in range(params["steps"]):
        said = 1 / (1 + np.exp(-(inputs @ weights)))
        loss = -np.mean(labels * np.log(said + 1e-12) + (1 - labels) * np.log(1 - said + 1e-12))
        slope = inputs.T @ (said - labels) / len(labels) + params["penalty"] * weights
        weights -= params["rate"] * slope
        if step % 5 == 0:
            lines.append(f"{step},{loss:.6f}")
    np.save("model.npy", weights)
    Path("loss.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
