"""Trial functions that need neither a dataset nor TensorFlow."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import shipway


def bowl(x: float, rate: float, kind: str) -> dict[str, float]:
    """Best (0) at x = 0.3, rate = 0.01; four reports that close in on it."""
    score = -((x - 0.3) ** 2) - (math.log10(rate) + 2) ** 2 / 10
    if kind == "bad":
        score -= 0.5
    for step in range(1, 5):
        shipway.report(step=step, score=score - 1 / step, loss=-score)
    return {"score": score, "loss": -score}


def fragile(x: float) -> dict[str, float]:
    """Ends in another way for each x below 0.9."""
    if x < 0.2:
        raise ValueError("x is too small\nfor this trial")
    if x < 0.4:
        os._exit(3)  # as a segmentation fault would: the whole runner goes
    if x < 0.5:
        return {"other": x}
    shipway.report(score=x)
    if x < 0.6:
        return {"score": float("nan")}
    return {"score": x}


def odd(kind: str) -> Any:
    """Gives back what holds no number, or leaves with 0."""
    if kind == "vanish":
        os._exit(0)
    given = {"nothing": None, "pairs": [("score", 1)], "word": {"score": "high"}, "huge": {"score": 10**400}}
    return given.get(kind, {"score": 1})


def counted(x: float, log: str, seconds: float = 0.03) -> float:
    """Leaves a line per finished trial in the file `log`."""
    for step in range(1, 4):
        time.sleep(seconds / 3)
        shipway.report(step=step, score=x * step / 3)
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{x!r}\n")
    return x


def patient(x: float, log: str, go: str) -> float:
    """As `counted`; from the third on it waits until somebody makes the file `go`."""
    while len(Path(log).read_text(encoding="utf-8").split()) >= 2 and not Path(go).exists():
        time.sleep(0.05)
    return counted(x, log)


def mended(x: float, mended: str) -> float:
    """Fails until somebody makes the file `mended`."""
    if not Path(mended).exists():
        raise RuntimeError("the disk is full")
    return x


def hangs(x: float) -> dict[str, float]:
    """Never ends where x is above 0.6."""
    while x > 0.6:
        time.sleep(0.05)
    return {"score": x}


def search(environment: dict[str, str], document: dict[str, Any], dataset_uri: str) -> None:
    """A sweep's step, in a process that a test may kill."""
    os.environ.update(environment)
    from shipway.components.sweep import launch
    from shipway.components.sweep.spec import SweepSpec
    from shipway.specs import parse

    launch.play(parse(SweepSpec, document, "sweep"), dataset_uri, "")
