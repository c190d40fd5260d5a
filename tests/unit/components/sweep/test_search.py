"""The search: pure over (seed, number, trials told), inside its space, and able to go on from its trials."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.artifacts import TrialRecord
from shipway.components.sweep import algorithms, core
from shipway.components.sweep.search import Search
from shipway.components.sweep.space import Space, Values
from shipway.components.sweep.spec import SweepSpec, loguniform, quniform, randint, uniform
from shipway.specs import parse

SPACE = {
    "rate": loguniform(1e-4, 1e-1),
    "kind": ["a", "b", "c"],
    "units": [16, 32, 64, 128],
    "depth": randint(1, 4),
    "share": quniform(0, 1, 0.25),
}
FIRST: Values = {"rate": 0.01, "kind": "a", "units": 64, "depth": 2, "share": 0.5}


def spec_of(name: str, settings: dict[str, Any] | None = None, **more: Any) -> SweepSpec:
    space = {k: v for k, v in SPACE.items() if k != "rate"} if name == "grid" else SPACE
    algorithm = {"algorithmName": name, "algorithmSettings": settings or {}}
    return parse(SweepSpec, {"objective": "maximize score", "algorithm": algorithm, "parameters": space, **more})


def score(values: Values) -> float:
    rate = math.log10(float(values.get("rate", 0.01)))
    return -((rate + 2) ** 2) - abs(float(values["depth"]) - 3) - (values["kind"] != "b") + float(values["share"])


class Sweep:
    """Trials one after another, each with four reports."""

    def __init__(self, spec: SweepSpec, first: Values | None = FIRST) -> None:
        names = {parameter.name for parameter in spec.parameters}
        self.search = Search(spec, None if first is None else {k: v for k, v in first.items() if k in names}, reports=4)
        self.records: list[TrialRecord] = []
        self.memories: list[dict[str, Any]] = []

    def run(self, trials: int) -> list[TrialRecord]:
        while len(self.records) < trials:
            asked = self.search.ask()
            if asked is None:
                break
            number, values = asked
            state, history = "Succeeded", []
            for index in range(1, 5):
                history.append([index * 10.0, score(values) - 1 / index])
                if self.search.report(number, index, history[-1][1]):
                    state = "EarlyStopped"
                    break
            self._end(TrialRecord(number=number, state=state, params=values, history=history))
        return self.records

    def _end(self, record: TrialRecord) -> None:
        record.metrics = {"score": record.history[-1][1]}
        self.search.tell(record)
        self.records.append(record)
        self.memories.append(self.search.memory(record.number))

    def go_on_from(self, other: Sweep, trials: int) -> Sweep:
        for record, memory in zip(other.records[:trials], other.memories, strict=False):
            self.search.restore(record, memory)
            self.records.append(record)
            self.memories.append(memory)
        return self


@pytest.mark.parametrize("algorithm", list(algorithms.LOCAL))
def test_the_same_seed_gives_the_same_trials_even_when_the_engine_dies_in_between(algorithm: str) -> None:
    spec = spec_of(algorithm, earlyStopping="medianstop")
    whole = Sweep(spec)
    expected = [(r.params, r.state) for r in whole.run(14)]
    for cut in (1, 5, 9):
        again = Sweep(spec).go_on_from(whole, cut)
        assert [(r.params, r.state) for r in again.run(14)] == expected, f"{algorithm} after {cut} trials"
    other = Sweep(spec_of(algorithm, seed=2)).run(14)
    assert algorithm == "grid" or [r.params for r in other] != [p for p, _ in expected]


@pytest.mark.parametrize("algorithm", list(algorithms.LOCAL))
def test_every_trial_lies_in_the_space_and_the_first_is_the_defaults(algorithm: str) -> None:
    spec = spec_of(algorithm)
    records = Sweep(spec).run(12)
    space = Space(spec.parameters)
    for record in records:
        assert space.decode(space.encode(record.params)) == pytest.approx(record.params)
    assert records[0].params == {k: v for k, v in FIRST.items() if k in records[0].params}


@pytest.mark.parametrize("algorithm", ["random", "tpe", "multivariate-tpe", "sobol"])
def test_no_combination_is_tried_twice_and_a_small_space_ends_the_sweep(algorithm: str) -> None:
    spec = parse(
        SweepSpec,
        {"objective": "maximize score", "algorithm": algorithm, "parameters": {"kind": ["a", "b"], "depth": [1, 2, 3]}},
    )
    search = Search(spec, {"kind": "b", "depth": 2})
    seen = []
    while (asked := search.ask()) is not None:
        seen.append(repr(asked[1]))
        search.tell(TrialRecord(number=asked[0], state="Succeeded", params=asked[1], metrics={"score": 1.0}))
    assert len(seen) == len(set(seen)) == 6


def test_a_grid_begins_with_the_defaults_and_visits_every_point_once() -> None:
    records = Sweep(spec_of("grid")).run(1000)
    assert len(records) == 3 * 4 * 4 * 5
    assert len({repr(sorted(r.params.items())) for r in records}) == len(records)


def test_tpe_finds_more_than_chance_does() -> None:
    def best(algorithm: str) -> float:
        found = []
        for seed in range(5):
            records = Sweep(spec_of(algorithm, seed=seed)).run(30)
            found.append(max(r.metrics["score"] for r in records))
        return sum(found)

    assert best("multivariate-tpe") > best("random")


def test_median_stopping_gives_up_what_falls_behind_but_never_the_defaults() -> None:
    worst: Values = {"rate": 1e-4, "kind": "a", "units": 16, "depth": 1, "share": 0.0}
    stopping = {"algorithmName": "medianstop", "algorithmSettings": {"min_trials_required": 2, "start_step": 2}}
    records = Sweep(spec_of("random", earlyStopping=stopping), worst).run(20)
    stopped = [r for r in records if r.state == "EarlyStopped"]
    assert records[0].state == "Succeeded"
    assert stopped
    assert all(len(r.history) >= 2 for r in stopped)


def test_hyperband_spends_its_reports_on_the_better_half() -> None:
    records = Sweep(spec_of("hyperband", {"eta": 2})).run(30)
    spent = sum(len(r.history) for r in records)
    assert spent < 30 * 4
    finished = [r.metrics["score"] for r in records if r.state == "Succeeded"]
    assert max(finished) >= max(score(r.params) - 0.25 for r in records[:1])


def test_importance_names_the_parameter_that_decides() -> None:
    sweep = Sweep(parse(SweepSpec, {"objective": "maximize score", "algorithm": "random", "parameters": {
        "depth": randint(1, 30), "kind": ["b"], "share": uniform(0, 0.01)}}), None)  # fmt: skip
    sweep.run(20)
    importance = sweep.search.importance()
    assert max(importance, key=lambda name: importance[name]) == "depth"


def test_the_exported_study_opens_in_optuna(tmp_path: Any) -> None:
    import optuna

    sweep = Sweep(spec_of("random"))
    sweep.run(4)
    sweep.search.export(tmp_path / "study.db")
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [t.value for t in study.trials] == [r.metrics["score"] for r in sweep.records]


@given(share=st.floats(0, 1, exclude_max=True), value=st.floats(-10, 300))
def test_points_of_the_unit_cube_and_foreign_values_land_in_the_space(share: float, value: float) -> None:
    for name, axis in Space(spec_of("random").parameters).axes.items():
        low, high = axis.bounds
        assert low <= axis.from_unit(share) <= high
        internal = axis.encode("unknown" if name == "kind" else value)
        assert low <= internal <= high
        assert axis.encode(axis.decode(internal)) == pytest.approx(internal)


def test_the_earlier_of_equal_trials_wins_and_a_missing_metric_is_named() -> None:
    spec = spec_of("random")
    records = [
        TrialRecord(number=n, state=state, params={"n": n}, metrics={"score": value})
        for n, state, value in [
            (0, "Succeeded", 0.9),
            (1, "Succeeded", 0.9),
            (2, "EarlyStopped", 1.0),
            (3, "Failed", 2),
        ]
    ]
    best = core.best_trial(spec.objective, records)
    assert best is not None
    assert best.number == 0
    assert core.best_trial(spec.objective, []) is None
    with pytest.raises(ValueError, match=r"no metric 'score'; it reported scores.*did you mean 'scores'"):
        core.final_value(spec.objective, {"scores": 1.0}, [])


@pytest.mark.parametrize(
    ("stderr", "number"), [(None, 2), (0.01, 2), (0.02, 1), (0.5, 1)], ids=["unknown", "less", "as much", "more"]
)
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_defaults_are_kept_unless_a_trial_is_ahead_by_more_than_one_standard_error(
    stderr: float | None, number: int, direction: str
) -> None:
    spec = spec_of("random")
    objective = spec.objective.model_copy(update={"type": direction})
    sign = 1 if direction == "maximize" else -1
    error = {} if stderr is None else {"score_stderr": stderr}
    records = [
        TrialRecord(number=n, state="Succeeded", params={"rate": rate}, metrics={"score": sign * value, **error})
        for n, rate, value in [(0, 0.1, 0.5), (1, 0.002 * (1 + 1e-12), 0.75), (2, 0.3, 0.765625)]
    ]
    best = core.best_trial(objective, records, {"rate": 0.002})
    assert best is not None
    assert best.number == number
    without = core.best_trial(objective, records)
    assert without is not None
    assert without.number == 2
