"""What a person reads of a cluster's run: records in object storage, pod logs where they can be had."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from shipway.artifacts import StepError, StepRecord
from shipway.errors import JobFailed, NotFound
from shipway.remote import Connection
from shipway.remote.pods import NODE, pod_logs
from shipway.runs import Run
from shipway.storage import Store
from tests.fixtures.kfp_server import KfpServer
from tests.fixtures.kubernetes_http import Answering, serving, write_kubeconfig


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path / 'store'}")
    return Store.open()


@pytest.fixture
def failed(kubeflow: Connection, server: KfpServer, published: str, store: Store) -> Run:
    """A run whose second step failed, with the records that its steps left."""
    run = kubeflow.submit(published)
    error = StepError(
        kind="JobFailed", message="train: worker-1 ended with 137", replica="worker-1", exit_code=137,
        last_lines=["loading", "Killed"],
    )  # fmt: skip
    store.put("page.html", b"<h1>how it went</h1>")
    for record in (
        StepRecord(
            run=run.key, task="add", title="Add one", state="Succeeded", started_at="2026-11-21T12:00:00", seconds=2.5,
            outputs={"accuracy": 0.9, "uri": "s3://shipway/a"}, reports={"Report": f"{store.uri}/page.html"},
        ),
        StepRecord(run=run.key, task="add-2", state="Failed", started_at="2026-11-21T12:01:00", error=error),
    ):  # fmt: skip
        store.put(f"runs/{run.key}/steps/{record.task}.json", record.to_json().encode())
    server.state.finish(run.key, "FAILED", add="SUCCEEDED", **{"add-2": "FAILED"})
    return run.refresh()


def test_a_failed_run_says_what_its_own_records_say(failed: Run) -> None:
    assert [(step.task, step.state) for step in failed.steps.values()] == [("add", "Succeeded"), ("add-2", "Failed")]
    assert failed.metrics == {}, "what a training batch scored is not the run's"
    with pytest.raises(JobFailed, match="add-2: train: worker-1 ended with 137"):
        failed.raise_for_state()
    assert failed.report("Report") == "<h1>how it went</h1>"
    with pytest.raises(NotFound, match=r"no report 'Reprt'.*there are Report"):
        failed.report("Reprt")


def test_the_summary_is_the_same_document_as_of_a_local_run(failed: Run) -> None:
    found = failed.summary()
    assert (found["state"], found["error"]["replica"]) == ("Failed", "worker-1")
    assert found["reports"] == {"Report": failed.steps["add"].reports["Report"]}
    assert found["kfp_name"] == failed.name


def test_a_torn_record_does_not_hide_the_others(failed: Run, store: Store) -> None:
    store.put(f"runs/{failed.key}/steps/torn.json", b'{"kind": "Step')
    assert set(failed.steps) == {"add", "add-2"}


def test_without_a_store_kubeflows_few_words_are_all_there_is(failed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHIPWAY_STORE")
    failed.refresh()
    assert [(step.task, step.state) for step in failed.steps.values()] == [("add", "Succeeded"), ("add-2", "Failed")]
    assert failed.metrics == {}
    with pytest.raises(NotFound, match="no store is named: set SHIPWAY_STORE"):
        failed.report()


def test_without_a_kubeconfig_it_is_said_why_there_are_no_pod_logs() -> None:
    found, (why,) = pod_logs("run-1", set(), namespace="ada")
    assert found == {}
    assert "no kubeconfig" in why
    assert "kubectl logs -n ada -l pipeline/runid=run-1 -c main" in why


PODS = {
    "run-1": {"p-add": "small-1.root.add.executor", "p-driver": "small-1.root.add-driver"},
    "run-2": {
        "p-0": "loop-1.root.for-loop-1.iteration-iterations(0:0).iteration-item.train.executor(0)",
        "p-0-again": "loop-1.root.for-loop-1.iteration-iterations(0:0).iteration-item.train.executor(1)",
        "p-1": "loop-1.root.for-loop-1.iteration-iterations(1:1).iteration-item.train.executor(0)",
        "p-waits": "loop-1.root.prep.executor(0)",
        "p-tell": "loop-1.root.tell.executor(0)",
    },
}


class Kubernetes(Answering):
    """The two calls of the Kubernetes API that are made; a busy server now and then."""

    busy = 0

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        names = re.fullmatch("/api/v1/namespaces/ada/pods(?:/([^/]+)/log)?", parts.path)
        if Kubernetes.busy:
            Kubernetes.busy -= 1
            self.send(503, {"message": "the server is currently unable to handle the request"})
        elif names is None:
            self.send(403, {"message": 'pods is forbidden: User "ada" cannot list resource "pods"'})
        elif names[1] is None:
            pods = PODS.get(query["labelSelector"].removeprefix("pipeline/runid="), {})
            documents = [{"metadata": {"name": pod, "annotations": {NODE: node}}} for pod, node in pods.items()]
            self.send(200, {"items": documents})
        elif names[1] == "p-waits" or query["container"] != "main":
            self.send(400, {"message": f'container "main" in pod "{names[1]}" is waiting to start: ImagePullBackOff'})
        else:
            self.send(200, f"one\n{names[1]}\n")


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The Kubernetes API over HTTP, and a kubeconfig that leads there."""
    with serving(Kubernetes) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
        yield


@pytest.mark.usefixtures("kubernetes")
def test_pod_logs_are_read_where_the_kubeconfig_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pod_logs("run-1", {"add"}, namespace="ada") == ({"add": "one\np-add\n"}, [])
    assert pod_logs("run-1", {"other"}, namespace="ada") == ({}, ["No pod logs: the run has no pods in ada any more"])
    found, (why,) = pod_logs("run-1", set(), namespace="bob")
    assert found == {}
    assert "refuses pods in bob: 403 pods is forbidden" in why
    monkeypatch.setattr(Kubernetes, "busy", 2)  # an API server that is busy is asked again
    assert pod_logs("run-1", set(), namespace="ada") == ({"add": "one\np-add\n"}, [])


@pytest.mark.usefixtures("kubernetes")
def test_a_pod_without_a_log_hides_no_other_and_iterations_stand_beside_each_other() -> None:
    found, (why,) = pod_logs("run-2", set(), namespace="ada")
    assert found == {
        "train.0(0)": "one\np-0\n",
        "train.0(1)": "one\np-0-again\n",
        "train.1": "one\np-1\n",
        "tell": "one\np-tell\n",
    }
    assert set(pod_logs("run-2", {"train.0"}, namespace="ada")[0]) == {"train.0(0)", "train.0(1)"}
    assert set(pod_logs("run-2", {"train"}, namespace="ada")[0]) == {"train.0(0)", "train.0(1)", "train.1"}
    assert why.startswith("No log of prep (pod p-waits): 400")
    assert "waiting to start: ImagePullBackOff" in why


def test_a_store_that_refuses_is_not_asked_again_at_every_look(failed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Following a run asks every two seconds, and a store out of reach takes a quarter of a minute to say so."""
    asked = []

    class Refusing(Answering):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

    with serving(Refusing) as url:
        monkeypatch.setenv("SHIPWAY_STORE", "s3://models")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        failed.refresh()
        assert [step.state for step in failed.steps.values()] == ["Succeeded", "Failed"]
        once = len(asked)
        assert once > 0
        failed.refresh()
        assert (failed.metrics, len(failed.steps), failed.summary()["state"]) == ({}, 2, "Failed")
        assert len(asked) == once
        assert "records cannot be read from here" in failed.note
        monkeypatch.setattr("shipway.remote.records.AGAIN_S", 0.0)
        assert len(failed.refresh().steps) == 2
        assert len(asked) > once
