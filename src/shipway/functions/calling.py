"""Calls a person's function where it runs: its code put on the path, its generators seeded, its metrics read."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from shipway.errors import InvalidSpec
from shipway.functions.reporting import Reporter, Tell, metrics_of, reporting
from shipway.objects import load_object


def run_trial(document: Mapping[str, Any], report: Tell) -> dict[str, float]:
    """One trial of a sweep over a function.

    Args:
        document: `function` (`module:name`), `params` (its keywords), `objective`, `seed`.
        report: (step, metrics) -> whether to go on.

    Returns:
        What it returned, and each metric's last reported value beside.

    Raises:
        InvalidSpec: it cannot be found, or gave no metric.
    """
    function = load(str(document["function"]))
    seed(int(document.get("seed", 0)))
    with reporting(Reporter(report)) as reporter:
        result = function(**document["params"])
    name = str(document["function"]).rpartition(":")[2]
    return metrics_of(result, name, reporter.last, str(document["objective"]))


def load(reference: str) -> Callable[..., Any]:
    """The function `package.module:name`.

    Raises:
        InvalidSpec: it cannot be loaded, or is no function.
    """
    attribute = load_object(reference, "function")
    if not callable(attribute):
        raise InvalidSpec(
            f"{reference!r} is a {type(attribute).__name__}, expected a function", field="function", given=reference
        )
    made: Callable[..., Any] = attribute
    return made


def seed(number: int) -> None:
    """Starts every generator that is loaded from the same place, so that no trial depends on the one before."""
    import numpy as np

    random.seed(number)
    np.random.seed(number)
    keras = sys.modules.get("tf_keras")
    if keras is not None:
        keras.backend.clear_session()
        keras.utils.set_random_seed(number)
