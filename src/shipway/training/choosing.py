"""What `auto` means: which strategy, and how many workers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import get_args

from shipway.errors import InvalidSpec
from shipway.recipes import load_recipe
from shipway.recipes.own_fit import strategies_of
from shipway.training.spec import AUTO, DISTRIBUTED, FitSpec, Strategy, check_workers

LEAST_TOGETHER = 2  # workers of a distributed training whose number nobody said
# In order of samples/s with two workers, a core each: docs/decisions/0179.
BY_SPEED = ("horovod", "multi_worker")


def chosen(spec: FitSpec, gpus: int, *, is_here: bool, among: Sequence[str] = ()) -> tuple[str, int, str]:
    """Strategy and workers as a job has them, and why, where the choice was left to us.

    One worker, unless a person says how many: a second one pays where a step computes for much longer than its
    gradients travel, which nothing here knows before it was measured, and a choice that follows a measurement would
    give another model on another day. One replica with several GPUs uses them all.

    Args:
        spec: Whose `strategy` may be `auto`, and whose `workers` 0.
        gpus: Of a replica.
        is_here: Replicas run in this very environment, where Horovod may be missing.
        among: Strategies of which one is chosen; none: all.

    Raises:
        InvalidSpec: several workers for a recipe that cannot be trained by them.
    """
    if spec.strategy != AUTO:
        workers = spec.workers or (LEAST_TOGETHER if spec.strategy in DISTRIBUTED else 1)
        check_workers(spec.strategy, workers)
        return spec.strategy, workers, ""
    known = strategies_of(load_recipe(spec.recipe), get_args(Strategy))
    allowed = tuple(name for name in known if name in (among or known)) or known  # whoever asks refuses another one
    if spec.workers > 1:
        strategy = _together(spec, allowed, is_here)
        return strategy, spec.workers, f"the fastest for {spec.workers} workers that recipe {spec.recipe!r} can do here"
    if gpus > 1 and "mirrored" in allowed:
        return "mirrored", 1, f"one replica uses its {gpus} GPUs"
    if "single" not in allowed:
        workers = LEAST_TOGETHER if allowed[0] in DISTRIBUTED else 1
        return allowed[0], workers, f"it is the first of {', '.join(allowed)}, which can be done here"
    return "single", 1, "where it was measured, a second worker made training slower; workers=N asks for more"


def _together(spec: FitSpec, allowed: tuple[str, ...], is_here: bool) -> str:
    able = [name for name in BY_SPEED if name in allowed]
    if not able:
        raise InvalidSpec(
            f"{spec.workers}, and recipe {spec.recipe!r} is trained by one worker: it can do {', '.join(allowed)}",
            field="training.workers",
            fix="leave it out",
        )
    if spec.gradient_compression != "none" and "horovod" in able:
        return "horovod"  # a missing one is said by name
    cannot = set()
    if spec.mixed_precision or (is_here and find_spec("horovod") is None):
        cannot.add("horovod")
    return next((name for name in able if name not in cannot), able[0])
