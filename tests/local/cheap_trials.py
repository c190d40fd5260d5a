"""Trial functions that need neither a dataset nor TensorFlow."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Report = Callable[[int, dict[str, float]], bool]


def bowl(document: dict[str, Any], report: Report) -> dict[str, float]:
    """Best (0) at x = 0.3, rate = 0.01; four reports that close in on it."""
    params = document["params"]
    score = -((params["x"] - 0.3) ** 2) - (math.log10(params["rate"]) + 2) ** 2 / 10
    if params.get("kind") == "bad":
        score -= 0.5
    for step in range(1, 5):
        if not report(step, {"score": score - 1 / step, "loss": -score}):
            break
    return {"score": score, "loss": -score}


def fragile(document: dict[str, Any], report: Report) -> dict[str, float]:
    """Ends in another way for each x below 0.9."""
    x = document["params"]["x"]
    if x < 0.2:
        raise ValueError("x is too small\nfor this trial")
    if x < 0.4:
        os._exit(3)  # as a segmentation fault would: the whole runner goes
    if x < 0.5:
        return {"other": x}
    report(1, {"score": x})
    if x < 0.6:
        return {"score": float("nan")}
    return {"score": x}


def odd(document: dict[str, Any], report: Report) -> Any:
    """Gives back what is no mapping of names to numbers, or leaves with 0."""
    kind = document["params"]["kind"]
    if kind == "vanish":
        os._exit(0)
    given = {"number": 0.9, "pairs": [("score", 1)], "word": {"score": "high"}, "huge": {"score": 10**400}}
    return given.get(kind, {"score": 1})


def counted(document: dict[str, Any], report: Report) -> dict[str, float]:
    """Leaves a line per finished trial in the file COUNT_FILE, and takes as long as COUNT_SECONDS says."""
    params = document["params"]
    seconds = float(params.get("seconds", 0.03))
    for step in range(1, 4):
        time.sleep(seconds / 3)
        if not report(step, {"score": params["x"] * step / 3}):
            return {}
    with open(Path(params["log"]), "a", encoding="utf-8") as log:
        log.write(f"{document['trial']}\n")
    return {"score": params["x"]}


def mended(document: dict[str, Any], report: Report) -> dict[str, float]:
    """Fails until somebody makes the file `mended`."""
    if not Path(document["params"]["mended"]).exists():
        raise RuntimeError("the disk is full")
    return {"score": document["params"]["x"]}


def hangs(document: dict[str, Any], report: Report) -> dict[str, float]:
    """Never ends where x is above 0.6."""
    x = document["params"]["x"]
    while x > 0.6:
        time.sleep(0.05)
    return {"score": x}


def search(environment: dict[str, str], document: dict[str, Any], dataset_uri: str) -> None:
    """A sweep's step, in a process that a test may kill."""
    os.environ.update(environment)
    from shipway.components.sweep import launch
    from shipway.components.sweep.spec import SweepSpec
    from shipway.specs import parse

    launch.search(parse(SweepSpec, document, "sweep"), dataset_uri, "")
