"""A step that Argo tries again, and one whose inputs another run made: as a step in a pod of Kubeflow finds itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipway.artifacts import StepRecord
from shipway.cached import cached_steps, makers
from shipway.context import Context
from shipway.errors import InvalidSpec, JobFailed
from shipway.steps import step
from shipway.storage import Store

RUN, FIRST = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"


class Pod:
    """The surroundings of one attempt of a step."""

    def __init__(self, store: str, patch: pytest.MonkeyPatch) -> None:
        self._store, self._patch = store, patch

    def __call__(self, attempt: int = 0, execution: str = "42", inputs: dict[str, str] | None = None) -> None:
        here = Context(
            home=Path("/none"), store_uri=self._store, run=RUN, executor="process", namespace="n",
            execution=execution, attempt=attempt, inputs=inputs or {},
        )  # fmt: skip
        self._patch.setattr(Context, "current", classmethod(lambda _: here))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return Store.open(f"file://{tmp_path / 'store'}")


@pytest.fixture
def pod(store: Store, monkeypatch: pytest.MonkeyPatch) -> Pod:
    return Pod(store.uri, monkeypatch)


def fail(error: Exception) -> int:
    with pytest.raises(SystemExit) as end, step("train"):
        raise error
    assert isinstance(end.value.code, int)
    return end.value.code


def works() -> bool:
    with step("train"):
        return True


def test_a_users_mistake_is_not_tried_again_and_is_told_by_the_same_line(
    pod: Pod, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    pod()
    assert fail(InvalidSpec("training.epochs: -1, expected 1 or more")) == 2
    said = capsys.readouterr().err
    before = store.get(f"runs/{RUN}/steps/train.json")
    pod(attempt=1)
    with pytest.raises(SystemExit) as end:
        works()
    assert (end.value.code, capsys.readouterr().err) == (2, said)
    assert store.get(f"runs/{RUN}/steps/train.json") == before


def test_a_retry_that_a_person_asks_for_does_the_work(pod: Pod) -> None:
    pod()
    fail(InvalidSpec("storage: no such bucket"))
    pod(attempt=0)
    assert works()


@pytest.mark.parametrize(("error", "execution"), [(JobFailed("lost a peer"), "42"), (InvalidSpec("x: wrong"), "43")])
def test_what_may_pass_and_what_another_iteration_said_is_tried_again(
    pod: Pod, error: Exception, execution: str
) -> None:
    pod()
    fail(error)
    pod(attempt=1, execution=execution)
    assert works()


def made(run: str, task: str) -> str:
    return f"s3://bucket/root/train-and-deploy/{run}/{task}/1f0e/out"


def test_a_step_keeps_where_its_inputs_were_made_and_so_the_cached_steps_are_found(pod: Pod, store: Store) -> None:
    kept = StepRecord(run=FIRST, task="train", state="Succeeded", outputs={"steps": 9}, title="Train")
    store.put(f"runs/{FIRST}/steps/train.json", kept.to_json().encode())
    pod(inputs={"model": made(FIRST, "job"), "dataset": made(RUN, "dataset"), "other": "s3://bucket/mine"})
    works()
    own = StepRecord.from_json(store.get(f"runs/{RUN}/steps/train.json"))
    assert makers([own], RUN) == {"job": FIRST}
    assert cached_steps(store, [own], RUN) == [], "train left a record in this run: it did its work here"
    release = own.model_copy(update={"task": "release"})
    (found,) = cached_steps(store, [release], RUN)
    assert (found.task, found.state, found.outputs, found.cached_from) == ("job", "Cached", {"steps": 9}, FIRST)
    assert cached_steps(store, [release], RUN, among=["katib"]) == []
    store.delete(f"runs/{FIRST}/steps/train.json")
    assert cached_steps(store, [release], RUN) == [], "its records were cleaned away"


def test_a_sweep_that_was_cached_with_its_training_is_found_through_it(store: Store) -> None:
    """Training takes the sweep's best as a parameter, so no artifact of a later step leads to the sweep."""
    for task in ("train", "sweep"):
        record = StepRecord(run=FIRST, task=task, state="Succeeded", outputs={"uri": f"s3://b/{task}"})
        store.put(f"runs/{FIRST}/steps/{task}.json", record.to_json().encode())
    uri = made(FIRST, "job")
    release = StepRecord(run=RUN, task="release", state="Succeeded", inputs={"model": uri})
    found = {step.task: step for step in cached_steps(store, [release], RUN, among=["katib", "job"])}
    assert (found["katib"].state, found["katib"].outputs) == ("Cached", {"uri": "s3://b/sweep"})
    assert {step.task for step in cached_steps(store, [release], RUN)} == {"job", "katib"}


def test_cached_steps_stand_in_the_order_they_were_made_in_behind_what_began_the_run(store: Store) -> None:
    """The run took no longer for what another run did yesterday."""
    for task, hour in (("dataset", "01"), ("train", "02")):
        record = StepRecord(run=FIRST, task=task, state="Succeeded", started_at=f"2026-11-24T{hour}:00:00+00:00")
        store.put(f"runs/{FIRST}/steps/{task}.json", record.to_json().encode())
    began = "2026-11-25T09:00:00+00:00"
    inputs = {"model": made(FIRST, "job"), "dataset": made(FIRST, "dataset")}
    plan = StepRecord(run=RUN, task="plan", state="Succeeded", started_at=began)
    release = StepRecord(
        run=RUN, task="release", state="Succeeded", started_at="2026-11-25T09:01:00+00:00", inputs=inputs
    )
    found = cached_steps(store, [plan, release], RUN)
    assert [(step.task, step.started_at) for step in found] == [("dataset", began), ("job", began)]
