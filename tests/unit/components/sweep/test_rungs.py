"""ASHA and hyperband: what they decide, played by the engine on trials that are looked up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import TrialRecord
from shipway.components.sweep import core
from shipway.components.sweep.engine import Engine
from shipway.components.sweep.ledger import Request, Status
from shipway.components.sweep.rungs import Rungs, check_rungs, rungs_of
from shipway.components.sweep.search import Search
from shipway.components.sweep.spec import SweepSpec
from shipway.errors import InvalidSpec
from shipway.specs import parse
from tests.fixtures.tabled_trials import TabledTrials, ledger_in

EPOCHS = 27


def spec_of(algorithm: str, trials: int = 18, epochs: float = EPOCHS, **more: Any) -> SweepSpec:
    return parse(
        SweepSpec,
        {"objective": "maximize score", "algorithm": algorithm, "maxTrialCount": trials,
         "parameters": {"x": "uniform(0, 1)", "rate": "uniform(0.05, 0.5)"}, "training": {"epochs": epochs}, **more},
    )  # fmt: skip


def curve(params: Mapping[str, Any]) -> list[float]:
    """Rises to 1 - |x - 0.7|; slow ones look bad at first."""
    top = 1 - abs(float(params["x"]) - 0.7)
    return [top * (1 - math.exp(-float(params["rate"]) * epoch)) for epoch in range(1, EPOCHS + 1)]


def played(spec: SweepSpec, folder: Path, trials: TabledTrials, first: Any = None) -> list[TrialRecord]:
    rungs = rungs_of(spec, has_defaults=first is not None)
    search = Search(spec, first, EPOCHS, pauses=True)
    player: Any = trials
    return Engine(spec, search, ledger_in(folder), player, rungs=rungs).run()


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("algorithm", ["asha", "hyperband"])
def test_the_better_third_goes_on_and_nothing_is_trained_twice(algorithm: str, slots: int, tmp_path: Path) -> None:
    trials = TabledTrials(curve, "score", slots)
    records = played(spec_of(algorithm), tmp_path, trials)
    assert len(records) == 18
    reached = {record.number: len(record.history) for record in records}
    assert trials.trained == sum(reached.values()) < 18 * EPOCHS / 2  # each epoch of each trial once
    assert set(reached.values()) <= {1, 3, 9, 27}
    ended = [record for record in records if record.state == "Succeeded"]
    assert ended
    assert all(len(record.history) == EPOCHS for record in ended)
    assert {record.state for record in records} == {"Succeeded", "EarlyStopped"}
    best = core.best_trial(spec_of(algorithm).objective, records)
    assert best is not None
    assert best.metrics["score"] == max(record.metrics["score"] for record in records)


def test_asha_promotes_as_soon_as_a_rung_has_three_times_as_many(tmp_path: Path) -> None:
    trials = TabledTrials(curve, "score")
    played(spec_of("asha", 9), tmp_path, trials)
    first = [(request.number, request.until) for request in trials.started[:5]]
    assert [until for _, until in first] == [1, 1, 1, 3, 1]
    values = {number: curve(trials.started[number].params)[0] for number in range(3)}
    assert first[3][0] == max(values, key=lambda number: values[number])


def test_hyperband_decides_the_same_whatever_ends_first(tmp_path: Path) -> None:
    """A rung is judged once all its trials are there: two slots or five, the same trials get as far."""
    ways = []
    for slots in (1, 2, 5):
        records = played(spec_of("hyperband", 30), tmp_path / str(slots), TabledTrials(curve, "score", slots))
        ways.append([(record.params, len(record.history)) for record in records])
    assert ways[0] == ways[1] == ways[2]


@pytest.mark.parametrize("algorithm", ["asha", "hyperband"])
def test_an_engine_that_dies_anywhere_decides_as_it_would_have(algorithm: str, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    whole = TabledTrials(curve, "score")
    expected = [(r.number, r.params, r.state, r.history) for r in played(spec_of(algorithm), tmp_path / "a", whole)]
    for death in (1, 4, 11, 20):
        attempts = 0

        def told(clock: int, request: Request, status: Status, death: int = death) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == death:
                raise Killed

        folder = tmp_path / str(death)
        first = TabledTrials(curve, "score", told=told)
        with pytest.raises(Killed):
            played(spec_of(algorithm), folder, first)
        lost = first.started[-1]
        again = TabledTrials(
            curve, "score", kept={n: r for n, r in first.kept.items() if n != lost.number or r < (lost.until or 99)}
        )
        records = played(spec_of(algorithm), folder, again)
        assert [(r.number, r.params, r.state, r.history) for r in records] == expected, f"killed at attempt {death}"
        assert len(first.started) + len(again.started) == len(whole.started) + 1  # the one that was lost


def test_the_defaults_train_to_their_end_and_what_is_hopeless_keeps_no_checkpoint(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    seen: list[int] = []

    def told(clock: int, request: Request, status: Status) -> None:
        if status.state == "Paused":
            ledger.store.put(f"trials/{request.number:04}/checkpoints/current", b"1")
        seen.append(len({info.key for info in ledger.store.list("trials/") if "checkpoints" in info.key}))

    trials = TabledTrials(curve, "score", told=told)
    records = played(spec_of("asha", 12, maxFailedTrialCount=0), tmp_path, trials, {"x": 0.1, "rate": 0.1})
    assert (trials.started[0].until, len(records[0].history), records[0].state) == (0, EPOCHS, "Succeeded")
    assert max(seen) <= 9  # of eleven that paused
    assert not [info.key for info in ledger.store.list("trials/") if "checkpoints" in info.key]


def test_a_trial_that_fails_makes_room_for_the_next(tmp_path: Path) -> None:
    whole = played(spec_of("asha", 9), tmp_path / "a", TabledTrials(curve, "score"))
    winner = next(record.number for record in whole if record.state == "Succeeded")
    ledger = ledger_in(tmp_path / "b")
    ledger.store.put(f"trials/{winner:04}/checkpoints/current", b"1")
    trials = TabledTrials(curve, "score", fails=frozenset({winner}))
    records = played(spec_of("asha", 9), tmp_path / "b", trials)
    assert not list(ledger.store.list(f"trials/{winner:04}/checkpoints/"))
    assert records[winner].state == "Failed"
    assert [record.state for record in records].count("Succeeded") == 1


def test_brackets_are_those_of_the_paper() -> None:
    rungs = Rungs("hyperband", {}, 81, 1000)
    sizes = [(bracket.rungs, len(bracket.members)) for bracket in map(rungs.bracket_of, (0, 81, 115, 130, 138))]
    assert sizes == [((1, 3, 9, 27), 81), ((3, 9, 27), 34), ((9, 27), 15), ((27,), 8), ((), 5)]
    assert rungs.bracket_of(143).members == range(143, 224)  # all over again


def refused(**document: Any) -> str:
    given = {"objective": "val_accuracy", "algorithm": "asha", "parameters": {"dropout": "uniform(0, 0.5)"}}
    with pytest.raises(InvalidSpec) as caught:
        check_rungs(parse(SweepSpec, {**given, **document}, "sweep"))
    return str(caught.value)


def test_what_cannot_be_divided_is_one_line() -> None:
    assert "training.checkpoint_steps; give r_l" in refused(training={"checkpoint_steps": 10})
    settings = {"algorithmName": "asha", "algorithmSettings": {"r_min": 4}}
    assert "no shorter than a whole training of 4 reports" in refused(algorithm=settings, training={"epochs": 4})
    assert "'tests.fixtures.fitted:recipe' fits by itself" in refused(
        training={"recipe": "tests.fixtures.fitted:recipe"}
    )
    assert "below 2" in refused(algorithm={"algorithmName": "asha", "algorithmSettings": {"eta": 1}})
    assert "Katib has no 'asha'" in refused(engine="katib")
