"""`shipway.sweep(train, {"learning_rate": [0.001, 0.01]})`: trials of a function, from a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shipway import runs
from shipway.errors import InvalidSpec
from shipway.functions.outcomes import Sweep
from shipway.functions.starting import packed, sections
from shipway.parameters import mapping, plain
from shipway.remote.where import connected

if TYPE_CHECKING:
    from shipway.remote.connection import Connection


def sweep(
    function: Callable[..., Any],
    space: Mapping[str, Any],
    *,
    name: str = "",
    objective: str = "",
    trials: int = 0,
    parallel: int = 0,
    early_stopping: str | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    here: bool = False,
    kfp: Connection | str | None = None,
    fresh: bool = False,
    started_by: str | None = None,
    key: str = "",
    wait: bool = True,
) -> Sweep:
    """Runs a function with one choice of parameters after another, and finds the best.

    The function is called with a trial's parameters as keywords. It returns a number or a dict of metrics, or calls
    `shipway.report(accuracy=0.93, step=3)`. Its source travels with all that it uses; what cannot is refused before
    anything starts. Called again with the same function and space, a sweep goes on where it was.

    Args:
        function: Made by `def`, in a notebook or a file.
        space: Values of each parameter: a list, or text such as `uniform(0, 0.5)` and `loguniform(1e-4, 1e-2)`. Lists
            alone are a grid, all of which is tried.
        name: What the sweep is called; default the function's name.
        objective: `maximize accuracy`, `minimize loss`; may be left out where the function gives a single metric.
        trials: How many at most; 0 for the whole grid, or 12.
        parallel: How many at once; 0 for 2.
        early_stopping: `medianstop` gives up trials that fall behind by what they report.
        overrides: Anything else: `{"training": {"resources": {"cpu": "4"}, "params": {"epochs": 3}}}`.
        here: This machine, though a Kubeflow is configured.
        kfp: A `shipway.connect()` or an address; None for what is configured, else this machine.
        fresh: Start anew.
        started_by, key: As `shipway.run` has them.
        wait: Wait for the end, and raise where the sweep failed.

    Raises:
        InvalidSpec: the function cannot travel or does not fit the space: where, what, and what to do.
        JobFailed: the sweep failed, and `wait` is set.
    """
    connection = connected(kfp, here=here)
    source, params = packed(function, name, is_cluster=connection is not None)
    values = _plain(space)
    declared = source.declared
    whole = sections(overrides)
    fixed = mapping(whole.get("training", {}).get("params"), "overrides.training.params", "a dict of arguments")
    declared.check_names({**fixed, **values}, "space")
    for parameter, choices in values.items():
        for choice in choices if isinstance(choices, list) else []:
            declared.check_kind(parameter, choice, f"space[{parameter!r}]")
    if early_stopping is not None:
        whole.setdefault("sweep", {})["earlyStopping"] = early_stopping
    params |= {"space": values, "objective": objective or declared.objective, "trials": trials, "parallel": parallel}
    run = runs.run(
        "sweep_function", params | {"overrides": whole}, kfp=connection, here=connection is None, fresh=fresh,
        started_by=started_by, key=key,
    )  # fmt: skip
    started = Sweep(run, source, params["origin"])
    return started.wait() if wait else started


def _plain(space: Mapping[str, Any]) -> dict[str, Any]:
    """The space as JSON has it: arrays, ranges and tuples as lists, NumPy's numbers as Python's."""
    if not isinstance(space, Mapping) or not space:
        raise InvalidSpec(field="space", given=space, allowed="the values of each parameter: {'dropout': [0.2, 0.5]}")
    return {str(name): _plain_values(name, values) for name, values in space.items()}


def _plain_values(name: str, values: Any) -> Any:
    if isinstance(values, str):
        return values
    field = f"space[{name!r}]"
    if isinstance(values, Mapping):  # as Katib has it
        return plain(values, field)
    if not isinstance(values, Iterable):
        raise InvalidSpec(
            field=field,
            given=values,
            allowed="a list of values, or text such as 'uniform(0, 0.5)'",
            fix=f"a single value is a list of one: [{values!r:.40}]",
        )
    return [plain(each, f"{field}[{index}]") for index, each in enumerate(values)]
