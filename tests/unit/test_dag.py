"""The names of steps, as Argo and kfp.local name what stands around them, and the tasks of a compiled pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shipway.compiling import compile_pipeline
from shipway.dag import Place, attempt_of, distinct, find_task, tasks_of, titles_of
from shipway.errors import InvalidSpec
from shipway.planning import find

ROOMS = f"{Path(__file__).parents[1]}/fixtures/rooms.py:rooms"
TITLES = {
    "train": "Train the small one",
    "train-2": "Train the large one",
    "evaluate": "Evaluate the small one",
    "train-3": "Try",
    "tune.train": "Train (tune.train)",
    "tune.evaluate": "Evaluate (tune.evaluate)",
    "tune-2.train": "Train (tune-2.train)",
    "tune-2.evaluate": "Evaluate (tune-2.evaluate)",
}
LOOP = "for-loop-1.iteration-iterations(3:3).iteration-item"


@pytest.mark.parametrize(
    ("node", "name", "attempt"),
    [
        ("train-and-deploy-x7f.root.exit-handler-1.job.executor", "job", 0),
        ("train-and-deploy-x7f.root.job.executor(2)", "job", 2),
        ("w.root.exit-handler-1.onExit.notify.executor(0)", "notify", 0),
        (f"w.root.{LOOP}.job.executor(1)", "job.3", 1),
        (f"w.root.{LOOP}.condition-branches-1.condition-2.tune.for-loop-2.iteration-iterations(0:0).iteration-item"
         ".job-2.executor", "tune.job-2.3.0", 0),
        ("w(0).root(0).for-loop-1(0).iteration-iterations(3:3)(1).iteration-item(0).tune(0).job(0).executor(1)",
         "tune.job.3", 1),
        ("w.root.tune.root.executor", "tune.root", 0),
        ("w.root.condition-1.condition-1.executor", "condition-1", 0),
        ("train-and-deploy-x7f.root.job-driver", "", 0),
        (f"w.root.{LOOP}", "", 0),
        ("", "", 0),
    ],
)  # fmt: skip
def test_a_step_is_named_by_what_its_node_stands_in(node: str, name: str, attempt: int) -> None:
    place = Place.of_node(node)
    assert (place.name if place else "", attempt_of(node)) == (name, attempt)
    assert place is None or Place.parse(name) == place


def test_the_tasks_of_a_pipeline_are_the_same_as_a_document_and_as_kfps_message(tmp_path: Path) -> None:
    compiled = compile_pipeline(ROOMS, tmp_path / "rooms.yaml")
    document = next(iter(yaml.safe_load_all(compiled.read_text(encoding="utf-8"))))
    assert list(titles_of(document).items()) == list(TITLES.items())
    assert tasks_of(document) == tasks_of(find(ROOMS).function.pipeline_spec)


def test_a_task_says_whose_launch_it_runs_whatever_it_is_called() -> None:
    tasks = tasks_of(find("train_and_deploy").function.pipeline_spec)
    rooms = [task.room for task in tasks.values()]
    assert rooms == ["", "prep", "sweep", "train", "evaluate", "release", "notify"]
    assert {task.room for task in tasks_of(find(ROOMS).function.pipeline_spec).values()} == {""}


def test_titles_that_several_tasks_have_are_told_apart() -> None:
    assert distinct({"a": "Train", "b": "Train", "c": "Tell", "d": ""}) == {
        "a": "Train (a)", "b": "Train (b)", "c": "Tell", "d": "d",
    }  # fmt: skip


def test_a_task_of_another_pipeline_is_known_by_its_own_name_where_only_one_has_it() -> None:
    assert find_task("a.train", ["b.train", "a.train"]) == "a.train"
    assert find_task("train", ["b.train", "gate"]) == "b.train"
    assert find_task("train", ["b.train", "a.train"]) == ""


def test_tasks_that_wait_for_each_other_are_named() -> None:
    tasks = {"a": {"dependentTasks": ["c"]}, "b": {"dependentTasks": ["a"]}, "c": {"dependentTasks": ["b"]}, "d": {}}
    with pytest.raises(
        InvalidSpec, match=r"tasks wait for each other: a waits for c waits for b waits for a; take one"
    ):
        tasks_of({"root": {"dag": {"tasks": tasks}}})
