"""Makes `asha_table.json`: a real training of 27 epochs for every point of a grid, to replay searches that pause them.

    python -m benchmarks._asha_table       about a minute on one core

A network of one hidden layer in NumPy, on scikit-learn's handwritten digits, the labels of every tenth training row
drawn anew so that there is something to overfit: momentum, dropout, weight decay, one seed. 898 rows train it, the
other 899 are its eval rows. The table holds how many of these each configuration gets right after each epoch.
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TABLE = Path(__file__).with_name("asha_table.json")
SPACE: dict[str, list[Any]] = {
    "learning_rate": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
    "batch_size": [16, 64, 256],
    "units": [8, 32, 128],
    "dropout": [0.0, 0.3, 0.6],
    "decay": [0.0, 0.001, 0.01],
}
EPOCHS = 27
MOMENTUM = 0.9
NOISE = 0.1
Floats = NDArray[np.float32]


def main() -> None:
    """Trains every configuration, and writes the table."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(digits))
    rows, labels = (pixels[order] / 16).astype(np.float32), digits[order].astype(np.int64)
    half = len(labels) // 2
    noise = np.random.default_rng(1)
    train = np.where(noise.random(half) < NOISE, noise.integers(0, 10, half), labels[:half])
    began = time.process_time()
    correct = [
        curve((rows[:half], train), (rows[half:], labels[half:]), dict(zip(SPACE, point, strict=True)))
        for point in itertools.product(*SPACE.values())
    ]
    table = {"space": SPACE, "epochs": EPOCHS, "eval_rows": len(labels) - half, "train_rows": half}
    table |= {"cpu_s": round(time.process_time() - began), "correct": correct}
    TABLE.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")


def curve(
    train: tuple[Floats, NDArray[np.int64]], held: tuple[Floats, NDArray[np.int64]], params: dict[str, Any]
) -> list[int]:
    """How many of the held rows are right after each epoch."""
    random = np.random.default_rng(7)
    rows, labels = train
    units, keep = int(params["units"]), 1 - params["dropout"]
    weights = [
        (random.normal(size=shape) * np.sqrt(2 / shape[0])).astype(np.float32)
        for shape in ((rows.shape[1], units), (units, 10))
    ] + [np.zeros(units, np.float32), np.zeros(10, np.float32)]
    speed = [np.zeros_like(weight) for weight in weights]
    counts = []
    for _ in range(EPOCHS):
        order = random.permutation(len(labels))
        for start in range(0, len(labels), params["batch_size"]):
            chosen = order[start : start + params["batch_size"]]
            mask = (random.random((len(chosen), units)) < keep).astype(np.float32) / np.float32(keep)
            for index, gradient in enumerate(gradients(weights, rows[chosen], labels[chosen], mask)):
                pull = params["decay"] * weights[index] if index < 2 else 0
                speed[index] = MOMENTUM * speed[index] - np.float32(params["learning_rate"]) * (gradient + pull)
                weights[index] = weights[index] + speed[index]
        hidden = np.maximum(held[0] @ weights[0] + weights[2], 0)
        logits = np.nan_to_num(hidden @ weights[1] + weights[3])
        counts.append(int((logits.argmax(axis=1) == held[1]).sum()))
    return counts


def gradients(weights: list[Floats], rows: Floats, labels: NDArray[np.int64], mask: Floats) -> list[Floats]:
    """Of the mean cross-entropy, in the order of the weights."""
    raw = rows @ weights[0] + weights[2]
    hidden = np.maximum(raw, 0) * mask
    logits = hidden @ weights[1] + weights[3]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(labels)), labels] -= 1
    shares /= len(labels)
    back = (shares @ weights[1].T) * mask * (raw > 0)
    return [rows.T @ back, hidden.T @ shares, back.sum(axis=0), shares.sum(axis=0)]


if __name__ == "__main__":
    with np.errstate(all="ignore"):  # a learning rate of 1 may well diverge; that is a result
        main()
