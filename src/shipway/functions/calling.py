"""Calls a person's function where it runs: its code put on the path, its generators seeded, its metrics read."""

from __future__ import annotations

import random
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shipway import modules
from shipway.errors import InvalidSpec
from shipway.functions.reporting import Reporter, Tell, metrics_of, reporting

_OURS = re.escape(str(Path(__file__).parents[1]))
_NOT_OWN = re.compile(rf"^{_OURS}/|/(site|dist)-packages/|/lib/python3\.\d+/|^<frozen ")


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
        InvalidSpec: it cannot be imported, or is none.
    """
    module, _, name = reference.partition(":")
    try:
        found = getattr(modules.load(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidSpec(
            f"{reference!r} cannot be loaded: {error}; is it on PYTHONPATH, or given as code=?",
            field="function",
            given=reference,
        ) from error
    if not callable(found):
        raise InvalidSpec(
            f"{reference!r} is a {type(found).__name__}, expected a function", field="function", given=reference
        )
    made: Callable[..., Any] = found
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


def raised_at(error: BaseException) -> str:
    """The last line of a person's own that an error came through, ` (own_train.py:7: total / 0)`; empty without one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if not _NOT_OWN.search(each.filename)]
    if not own:
        return ""
    text = f": {own[-1].line:.60}" if own[-1].line else ""
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno}{text})"
