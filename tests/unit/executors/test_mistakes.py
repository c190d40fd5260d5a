"""A replica that tells a user's mistake (exit code 2) ends a job of ours; a stranger's goes as its operator would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shipway import labels
from shipway.components.train.core import render
from shipway.components.train.spec import TrainingSpec
from shipway.errors import JobFailed, UserError
from shipway.executors import Handle, Manifest, Outcome, ReplicaFailure, play, raise_for
from shipway.executors.kubernetes.view import View
from shipway.executors.kubernetes.watching import Change
from tests.fixtures.executor_rigs import ProcessRig
from tests.fixtures.manifests import mpijob, tfjob

MISTAKE = "import sys; print('I0000 00:00:1 a library'); print('error: params.rate: got -1'); sys.exit(2)"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProcessRig]:
    found = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    yield found
    found.close()


def ours(manifest: Manifest) -> Manifest:
    manifest["metadata"]["annotations"] = {labels.MISTAKES_ARE_FINAL: "true"}
    return manifest


@pytest.mark.parametrize("restart", ["Never", "OnFailure", "Always", "ExitCode"])
def test_a_mistake_ends_a_job_of_ours_under_every_restart_policy(rig: ProcessRig, restart: str) -> None:
    manifest = ours(
        tfjob("j", {"Chief": MISTAKE, "Worker": "import time; time.sleep(60)"}, restart=restart, backoffLimit=4)
    )
    handle, outcome = play(rig.executor, manifest, backoff_limit=3)
    assert (outcome.state, outcome.restarts, handle.name) == ("Failed", 0, "j")
    with pytest.raises(UserError, match=r"^params\.rate: got -1$") as caught:
        raise_for(outcome, handle)
    assert caught.value.exit_code == 2


@pytest.mark.heavy
@pytest.mark.parametrize("version", ["v1", "v2beta1"])
def test_a_ranks_mistake_ends_an_mpijob_of_ours(rig: ProcessRig, version: str) -> None:
    code = f"import os, time\nif os.environ['SHIPWAY_REPLICA'] == 'worker-0': time.sleep(60)\n{MISTAKE}"
    restart = "OnFailure" if version == "v1" else "Never"
    handle, outcome = play(rig.executor, ours(mpijob("j", code, version=version, restart=restart, backoffLimit=3)))
    assert (outcome.state, outcome.restarts) == ("Failed", 0)
    with pytest.raises(UserError, match=r"^params\.rate: got -1$"):
        raise_for(outcome, handle)


def test_a_strangers_job_is_restarted_as_its_operator_would(rig: ProcessRig) -> None:
    _, outcome = play(rig.executor, tfjob("j", {"Worker": MISTAKE}, restart="OnFailure", backoffLimit=2))
    assert (outcome.state, outcome.restarts) == ("Failed", 2)


@pytest.mark.parametrize("strategy", ["single", "multi_worker", "horovod"])
def test_every_training_that_we_render_says_that_mistakes_are_final(strategy: str) -> None:
    spec = TrainingSpec(name="x", recipe="intents", strategy=strategy, workers=1 if strategy == "single" else 2)
    made = render(spec, "j", "file:///dataset", store_uri="file:///store")
    assert made["metadata"]["annotations"][labels.MISTAKES_ARE_FINAL] == "true"


@pytest.mark.parametrize("is_ours", [True, False])
def test_on_a_cluster_the_follower_gives_up_a_job_of_ours_whose_pod_told_a_mistake(is_ours: bool) -> None:
    view = View(Handle("MPIJob", "j", "team", "0"), lambda _event: None)
    notes = {labels.MISTAKES_ARE_FINAL: "true"} if is_ours else {}
    job = {"metadata": {"name": "j", "annotations": notes}, "spec": {"runPolicy": {"backoffLimit": 3}}, "status": {}}
    view.take(Change("MPIJob", job))
    ended = {"exitCode": 2, "reason": "Error", "message": "a\nerror: params.rate: got -1\n",
             "finishedAt": "2026-11-21T12:00:01Z"}  # fmt: skip
    before = {"name": "mpi", "restartCount": 0, "state": {"running": {}}}
    status = {"name": "mpi", "restartCount": 1, "state": {"running": {}}, "lastState": {"terminated": ended}}
    pod = {
        "metadata": {"name": "j-launcher", "uid": "u", "labels": {"training.kubeflow.org/replica-type": "launcher"}},
        "spec": {"containers": [{"name": "mpi"}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }
    view.take(Change("Pod", {**pod, "status": {"phase": "Running", "containerStatuses": [before]}}))
    view.take(Change("Pod", pod))
    doomed = view.doomed()
    if not is_ours:
        assert doomed is None
        return
    assert doomed is not None
    with pytest.raises(UserError, match=r"^params\.rate: got -1$"):
        raise_for(Outcome("Failed", first_failure=doomed[1], message=doomed[0]), view.handle)


def test_a_failure_is_one_line_and_a_librarys_log_is_not_in_it() -> None:
    noise = [f"2026-11-25 10:11:12.{n}: I tensorflow/core/platform/x.cc:210] words" for n in range(20)]
    lines = [*noise, "Traceback (most recent call last):", "  x", "ValueError: no such row", *noise]
    outcome = Outcome("Failed", first_failure=ReplicaFailure("worker-1", 1, "Error", lines), message="1 replica failed")
    with pytest.raises(JobFailed) as caught:
        raise_for(outcome, Handle("TFJob", "j", "team", "0"))
    assert str(caught.value).endswith("worker-1 failed first (Error, exit code 1): ValueError: no such row")
    assert "tensorflow" not in str(caught.value)
    assert caught.value.last_lines == tuple(lines)
