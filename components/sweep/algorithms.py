"""What Katib's algorithms are called, which settings they take, and which of them run on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Reader = Callable[[Any], Any]

_SEED: dict[str, Reader] = {"random_state": int}
_TPE: dict[str, Reader] = {**_SEED, "n_EI_candidates": int, "gamma": float, "prior_weight": float, "n_startup": int}


def _eta(value: Any) -> int:
    return _at_least(value, 2)


def _resource(value: Any) -> int:
    return _at_least(value, 1)


def _at_least(value: Any, least: int) -> int:
    number = int(value)
    if number < least:
        raise ValueError(f"below {least}")
    return number


# Algorithm -> its settings and how their text is read; our engine runs these.
LOCAL: dict[str, dict[str, Reader]] = {
    "random": _SEED,
    "grid": {},
    "tpe": _TPE,
    "multivariate-tpe": _TPE,
    "cmaes": {**_SEED, "sigma": float, "restart_strategy": str},
    "sobol": _SEED,
    "hyperband": {**_SEED, "eta": _eta, "r_l": _resource, "resource_name": str},
    "asha": {**_SEED, "eta": _eta, "r_l": _resource, "r_min": _resource},
}
RUNGS = ("hyperband", "asha")  # their trials pause, and the better ones go on
HERE_ONLY = ("asha",)  # Katib has none
TPE = ("tpe", "multivariate-tpe")
# Katib has these; here they need libraries (torch) or machinery that a sweep of ours does without.
KATIB_ONLY: dict[str, dict[str, Reader]] = {
    "bayesianoptimization": {
        **_SEED,
        "base_estimator": str,
        "n_initial_points": int,
        "acq_func": str,
        "acq_optimizer": str,
    },
}
ALL = {**LOCAL, **KATIB_ONLY}
# Katib reads these too; what our hyperband divides are reports, and our CMA-ES goes on where Katib's begins anew.
NOT_APPLIED = ("resource_name", "restart_strategy")

EARLY_STOPPING: dict[str, dict[str, Reader]] = {"medianstop": {"min_trials_required": int, "start_step": int}}
