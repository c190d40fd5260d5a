"""Tasks of one room, loops and nested pipelines on Kubeflow: each step keeps a record of its own, and all are shown.

The steps are processes in pods of the stand-in for Kubernetes, which name them as Argo does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway import images, step_pod
from shipway.cli.screens import closing_screen
from shipway.compiling import compile_pipeline
from shipway.executors.kubernetes.api import Api
from shipway.executors.kubernetes.own_pod import NODE
from shipway.remote import Connection
from shipway.runs import Run
from shipway.runs.wanted import called_by, find_steps
from shipway.storage import Store
from shipway.store_secret import DEFAULT_SECRET
from tests.fixtures.kfp_nodes import CACHED, DRIVER_FAILED
from tests.fixtures.kfp_server import KfpServer
from tests.fixtures.kubernetes_api import Cluster
from tests.fixtures.manifests import wait_for
from tests.unit.test_dag import ROOMS, TITLES

LOOP = "for-loop-1.iteration-iterations({0}:{0}).iteration-item"
STEP = """
import sys
from shipway.steps import step
role, value, ends = sys.argv[1:4]
with step(role) as current:
    if role == "evaluate":
        shown = [{"name": "accuracy", "title": "Accuracy", "is_share": True}]
        current.output(split="test", metrics={"accuracy": int(value) / 100}, shown=shown)
        current.report("Evaluation", f"s3://b/{value}.html")
    else:
        current.output(value=int(value))
    if ends == "badly":
        raise RuntimeError("a peer was lost")
"""


class Pods:
    """Pods of one run's steps."""

    def __init__(self, cluster: Cluster, documents: list[dict[str, Any]], run: str) -> None:
        self.cluster, self.documents, self.run = cluster, documents, run

    def __call__(self, *steps: tuple[str, str, int], ends: str = "well") -> None:
        """Runs steps at the same time: node of Argo without its attempt, role, value."""
        names = [f"p{len(self.cluster.created) + at}" for at in range(len(steps))]
        for name, (node, role, value) in zip(names, steps, strict=True):
            command = ["python", "-c", STEP, role, str(value), ends, "--execution_id", str(value)]
            executor = "exec-evaluate" if role == "evaluate" else "exec-train"
            pod = step_pod.step_pod(self.documents, executor=executor, name=name, namespace="ml",
                                    account="pipeline-runner", command=command, run=self.run)  # fmt: skip
            pod["metadata"].setdefault("annotations", {})[NODE] = f"rooms-x7f.root.{node}"
            Api().post("/api/v1/namespaces/ml/pods", pod)
        wait_for(lambda: all(name in self.cluster.logs for name in names), "the pods end")
        assert ends != "well" or not any("Traceback" in self.cluster.logs[name] for name in names), self.cluster.logs


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path / 'store'}")
    return Store.open()


@pytest.fixture
def run(kubeflow: Connection) -> Run:
    return kubeflow.submit(kubeflow.publish(ROOMS, version="1.0", pin=False).pipeline)


@pytest.fixture
def pods(tmp_path: Path, store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pods]:
    compiled = compile_pipeline(ROOMS, tmp_path / "rooms.yaml")
    documents = list(yaml.safe_load_all(compiled.read_text(encoding="utf-8")))
    with Cluster(tmp_path) as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig()))
        cluster.images = dict.fromkeys(images.DEFAULTS.values(), True)
        keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"), "x")
        cluster.secret(DEFAULT_SECRET, {**keys, "SHIPWAY_STORE": store.uri})
        yield Pods(cluster, documents, run.key)


def test_every_step_keeps_a_record_of_its_own_and_the_summary_shows_them_all(
    pods: Pods, run: Run, server: KfpServer, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    pods(("train-2.executor(0)", "train", 2), (f"{LOOP.format(1)}.train-3.executor", "train", 31), ends="badly")
    pods(
        ("train.executor", "train", 1), ("train-2.executor(1)", "train", 2), ("evaluate.executor", "evaluate", 10),
        (f"{LOOP.format(0)}.train-3.executor", "train", 30),
        (f"{LOOP.format(1)}.condition-2.tune.train.executor", "train", 41),
        ("tune-2.train.executor", "train", 50), ("tune-2.evaluate.executor", "evaluate", 51),
    )  # fmt: skip
    names = sorted(info.key.rpartition("/")[2] for info in store.list(f"runs/{run.key}/steps/"))
    assert names == [f"{name}.json" for name in (
        "evaluate", "train-2", "train-3.0", "train-3.1", "train", "tune-2.evaluate", "tune-2.train", "tune.train.1",
    )]  # fmt: skip
    server.state.finish(run.key, "FAILED", **{
        "train": "SUCCEEDED", "train-2": "SUCCEEDED", "evaluate": "SUCCEEDED",
        "train-3": ["SUCCEEDED", "FAILED", CACHED], "tune.train": ["SUCCEEDED"], "tune-2.train": "SUCCEEDED",
        "tune-2.evaluate": "SUCCEEDED",
    })  # fmt: skip
    found = run.refresh().summary()
    assert {step["step"]: (step["role"], step["state"], step["outputs"].get("value")) for step in found["steps"]} == {
        "train-3.0": ("train", "Succeeded", 30), "train-3.1": ("train", "Failed", 31),
        "train-3": ("", "Cached", None), "tune.train.1": ("train", "Succeeded", 41),
        "tune.evaluate": ("", "Skipped", None),
        "train": ("train", "Succeeded", 1), "train-2": ("train", "Succeeded", 2),
        "evaluate": ("evaluate", "Succeeded", None), "tune-2.train": ("train", "Succeeded", 50),
        "tune-2.evaluate": ("evaluate", "Succeeded", None),
    }  # fmt: skip
    assert (found["error"]["step"], found["error"]["message"]) == ("train-3.1", "RuntimeError: a peer was lost")
    assert found["reports"] == {
        "Evaluation (evaluate)": "s3://b/10.html", "Evaluation (tune-2.evaluate)": "s3://b/51.html",
    }  # fmt: skip
    assert run.metrics == {"test_accuracy": 0.51}, "the last outside of loops"
    closing_screen(found)
    shown = capsys.readouterr().out
    for title in ("Try, iteration 0", "Train (tune.train), iteration 1", "Evaluate (tune-2.evaluate)"):
        assert title in shown


def test_a_retry_replaces_the_record_of_its_own_iteration_alone(pods: Pods, run: Run, server: KfpServer) -> None:
    pods((f"{LOOP.format(0)}.train-3.executor", "train", 30))
    pods((f"{LOOP.format(1)}.train-3.executor", "train", 31), ends="badly")
    server.state.finish(run.key, "FAILED", **{"train-3": ["SUCCEEDED", "FAILED"]})
    run.retry()
    states = {name: step.state for name, step in run.steps.items() if step.task == "train-3"}
    assert states["train-3.0"] == "Succeeded"
    pods((f"{LOOP.format(1)}.train-3.executor", "train", 31))
    server.state.finish(run.key, "SUCCEEDED", **{"train-3": ["SUCCEEDED", "SUCCEEDED"]})
    steps = run.refresh().steps
    assert {name: step.state for name, step in steps.items() if step.task == "train-3"} == {
        "train-3.0": "Succeeded", "train-3.1": "Succeeded",
    }  # fmt: skip


def test_without_records_a_loop_is_one_step_and_so_is_each_task_of_a_nested_pipeline(
    run: Run, server: KfpServer
) -> None:
    server.state.finish(run.key, "FAILED", **{
        "train-3": ["SUCCEEDED", DRIVER_FAILED, CACHED], "tune.train": [CACHED, CACHED], "tune-2.train": "SUCCEEDED",
    })  # fmt: skip
    steps = run.refresh().steps
    assert list(steps) == list(TITLES)
    assert {name: step.title for name, step in steps.items()} == TITLES
    assert (steps["train-3"].state, steps["tune-2.evaluate"].state) == ("Failed", "Skipped")
    assert {step["role"] for step in run.summary()["steps"]} == {""}


def test_a_person_means_all_steps_that_are_called_so(store: Store, run: Run, server: KfpServer) -> None:
    from shipway.artifacts import StepRecord

    for task, iteration in (("train", ""), ("train-3", "0"), ("train-3", "1"), ("tune.train", "1")):
        record = StepRecord(run=run.key, role="train", task=task, iteration=iteration, state="Succeeded")
        store.put(f"runs/{run.key}/steps/{record.name}.json", record.to_json().encode())
    server.state.finish(run.key, "SUCCEEDED", train="SUCCEEDED", **{"train-3": ["SUCCEEDED"] * 2})
    called = {name: called_by(step) for name, step in run.refresh().steps.items()}
    assert find_steps("train", called, "run") == ["train"]
    assert find_steps("train-3.1", called, "run") == find_steps("try, iteration 1", called, "run") == ["train-3.1"]
    assert find_steps("Try", called, "run") == find_steps("train-3", called, "run") == ["train-3.0", "train-3.1"]
    assert json.dumps(run.summary())
