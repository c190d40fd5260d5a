"""A step that Argo tries again, and one whose inputs another run made: as a step in a pod of Kubeflow finds itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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

    def __call__(self, attempt: int = 0, task: str = "job", **more: Any) -> None:
        here = Context(
            home=Path("/none"), store_uri=self._store, run=RUN, executor="process", namespace="n", task=task,
            execution="42", attempt=attempt,
        )  # fmt: skip
        here = replace(here, **more)
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
    before = store.get(f"runs/{RUN}/steps/job.json")
    pod(attempt=1)
    with pytest.raises(SystemExit) as end:
        works()
    assert (end.value.code, capsys.readouterr().err) == (2, said)
    assert store.get(f"runs/{RUN}/steps/job.json") == before


def test_a_retry_that_a_person_asks_for_does_the_work(pod: Pod) -> None:
    pod()
    fail(InvalidSpec("storage: no such bucket"))
    pod(attempt=0)
    assert works()


@pytest.mark.parametrize(
    ("error", "other"),
    [
        (JobFailed("lost a peer"), {}),
        (InvalidSpec("x: wrong"), {"execution": "43"}),
        (InvalidSpec("x: wrong"), {"iteration": "1"}),
        (InvalidSpec("x: wrong"), {"task": "job-2"}),
        (InvalidSpec("x: wrong"), {"task": "tune.job"}),
    ],
)
def test_what_may_pass_and_what_another_step_said_is_tried_again(
    pod: Pod, error: Exception, other: dict[str, str]
) -> None:
    pod()
    fail(error)
    pod(attempt=1, **other)
    assert works()


def test_an_attempt_replaces_the_record_of_the_one_before_and_no_others(pod: Pod, store: Store) -> None:
    for place in ({}, {"iteration": "0"}, {"iteration": "1"}, {"task": "job-2"}, {"task": "tune.job"}):
        pod(**place)
        works()
    pod(attempt=1, iteration="1")
    fail(JobFailed("lost a peer"))
    kept = {info.key.rpartition("/")[2]: StepRecord.from_json(store.get(info.key)).state
            for info in store.list(f"runs/{RUN}/steps/")}  # fmt: skip
    assert kept == {
        "job.json": "Succeeded", "job.0.json": "Succeeded", "job.1.json": "Failed", "job-2.json": "Succeeded",
        "tune.job.json": "Succeeded",
    }  # fmt: skip


def made(run: str, task: str, output: str = "out") -> str:
    return f"s3://bucket/root/train-and-deploy/{run}/{task}/1f0e/{output}"


def keep(store: Store, record: StepRecord) -> None:
    store.put(f"runs/{record.run}/steps/{record.name}.json", record.to_json().encode())


def step_of_first(task: str, role: str, *outputs: str, **more: Any) -> StepRecord:
    """A step of the run that filled the cache."""
    uris = {output: made(FIRST, task.rpartition(".")[2], output) for output in outputs}
    return StepRecord(run=FIRST, task=task, role=role, state="Succeeded", made=uris, **more)


def test_a_step_keeps_where_artifacts_were_made_and_so_the_cached_steps_are_found(pod: Pod, store: Store) -> None:
    keep(store, step_of_first("job", "train", "out", outputs={"steps": 9}, title="Train"))
    pod(inputs={"model": made(FIRST, "job"), "dataset": made(RUN, "dataset"), "other": "s3://bucket/mine"})
    works()
    own = StepRecord.from_json(store.get(f"runs/{RUN}/steps/job.json"))
    assert makers([own], RUN) == {FIRST: {made(FIRST, "job")}}
    assert cached_steps(store, [own], RUN) == [], "the task left a record in this run: it did its work here"
    release = own.model_copy(update={"task": "release"})
    (found,) = cached_steps(store, [release], RUN)
    assert (found.task, found.state, found.outputs, found.cached_from) == ("job", "Cached", {"steps": 9}, FIRST)
    assert cached_steps(store, [release], RUN, among=["search"]) == []
    store.delete(f"runs/{FIRST}/steps/job.json")
    assert cached_steps(store, [release], RUN) == [], "its records were cleaned away"


def test_of_the_steps_of_one_task_the_cached_ones_are_those_that_wrote_what_was_read(store: Store) -> None:
    for iteration in ("0", "1", "2"):
        keep(store, step_of_first("tune.job", "train", f"out-{iteration}", iteration=iteration))
    keep(store, step_of_first("other.job", "train", "out-9"))
    inputs = {"models.0": made(FIRST, "job", "out-0"), "models.1": made(FIRST, "job", "out-2")}
    release = StepRecord(run=RUN, task="release", state="Succeeded", inputs=inputs)
    assert [step.name for step in cached_steps(store, [release], RUN)] == ["tune.job.0", "tune.job.2"]
    renamed = cached_steps(store, [release], RUN, among=["again.job"])
    assert [step.name for step in renamed] == ["again.job.0", "again.job.2"]


def test_a_sweep_that_was_cached_with_its_training_is_found_through_it(store: Store) -> None:
    """Training takes the sweep's best as a parameter, so no artifact of a later step leads to the sweep."""
    keep(store, step_of_first("job", "train", "out"))
    keep(store, step_of_first("search", "sweep", "sweep", outputs={"uri": "s3://b/sweep"}))
    release = StepRecord(run=RUN, task="release", state="Succeeded", inputs={"model": made(FIRST, "job")})
    found = {step.task: step for step in cached_steps(store, [release], RUN, among=["search", "job"])}
    assert (found["search"].state, found["search"].outputs) == ("Cached", {"uri": "s3://b/sweep"})
    assert {step.task for step in cached_steps(store, [release], RUN)} == {"job", "search"}


def test_cached_steps_stand_in_the_order_they_were_made_in_behind_what_began_the_run(store: Store) -> None:
    """The run took no longer for what another run did yesterday."""
    for task, hour in (("dataset", "01"), ("job", "02")):
        keep(store, step_of_first(task, "", "out", started_at=f"2026-11-24T{hour}:00:00+00:00"))
    began = "2026-11-25T09:00:00+00:00"
    inputs = {"model": made(FIRST, "job"), "dataset": made(FIRST, "dataset")}
    plan = StepRecord(run=RUN, task="plan", state="Succeeded", started_at=began)
    release = StepRecord(
        run=RUN, task="release", state="Succeeded", started_at="2026-11-25T09:01:00+00:00", inputs=inputs
    )
    found = cached_steps(store, [plan, release], RUN)
    assert [(step.task, step.started_at) for step in found] == [("dataset", began), ("job", began)]
