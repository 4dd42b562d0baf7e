"""Train a model on the digits here: python train.py.

Reads hyperparameters from `params.toml` (a `[train]` table with `C`, the inverse of the
regularization, and `steps`), writes `model.npz` and `metrics.json`. The same pictures and
parameters always give the same model.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import tomlkit
from model import accuracy, read_pictures, save
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

HERE = Path()


def train() -> float:
    """Train, save the model and its metrics; return the accuracy on the held-out digits."""
    params = tomlkit.parse(Path("params.toml").read_text()).unwrap()["train"]
    pixels, labels = read_pictures(HERE, held_out=False)
    model = LogisticRegression(C=params["C"], max_iter=params["steps"])
    with warnings.catch_warnings():
        # `steps` is a hyperparameter here: stopping early is what the user asked for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(pixels, labels)
    save(Path("model.npz"), model.coef_, model.intercept_)
    result = accuracy(Path("model.npz"), HERE)
    metrics = {"accuracy": round(result, 6), "trained_on": len(labels)}
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return result


if __name__ == "__main__":
    print(f"accuracy: {train():.6f}")
