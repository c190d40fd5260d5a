"""The kubernetes executor's pure parts; what they do on a cluster is shown by the conformance suite on the bed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shipway import labels
from shipway.context import Context
from shipway.dag import Place
from shipway.errors import InvalidSpec, NotFound, UserError
from shipway.executors import Event, Handle, identity
from shipway.executors.kubernetes.api import ApiError, explain
from shipway.executors.kubernetes.kinds import kind_of
from shipway.executors.kubernetes.own_pod import read_pod
from shipway.executors.kubernetes.rendering import BASE, JOB, PEERS, rendered
from shipway.executors.kubernetes.states import job_state, pod_state, seconds_of
from shipway.executors.kubernetes.view import View
from shipway.executors.kubernetes.watching import Change, slim
from tests.fixtures.manifests import batch_job, mpijob, tfjob

CONTEXT = Context(home=Path("/nowhere"), store_uri="s3://b/p", run="r1", executor="kubernetes", namespace="team")


def pod(
    replica: str = "worker-1", *, uid: str = "u1", restarts: int = 0, last: Any = None, **state: Any
) -> dict[str, Any]:
    role, _, index = replica.partition("-")
    found = {"training.kubeflow.org/replica-type": role, "training.kubeflow.org/replica-index": index, JOB: "j"}
    status: dict[str, Any] = {"name": "tensorflow", "restartCount": restarts, "state": state}
    if last:
        status["lastState"] = {"terminated": last}
    code = (state.get("terminated") or {}).get("exitCode")
    phase = "Pending" if "waiting" in state else "Running" if code is None else "Failed" if code else "Succeeded"
    return {
        "metadata": {"name": f"j-{replica}", "uid": uid, "labels": found},
        "spec": {"nodeName": "n1"},
        "status": {"phase": phase, "containerStatuses": [status]},
    }


def job(*conditions: str, uid: str = "j1", **spec: Any) -> dict[str, Any]:
    found = [{"type": kind, "status": "True", "message": f"it is {kind}"} for kind in conditions]
    return {"metadata": {"name": "j", "uid": uid}, "spec": spec, "status": {"conditions": found}}


def seen(*changes: tuple[str, dict[str, Any]]) -> tuple[View, list[Event]]:
    events: list[Event] = []
    view = View(Handle("TFJob", "j", "team", "0"), events.append)
    for kind, found in changes:
        view.take(Change(kind, found, gone=kind == "gone"))
    return view, events


def test_what_is_applied_carries_identity_and_its_hash_is_of_what_was_given() -> None:
    manifest = tfjob("j", {"Chief": "pass", "Worker": (2, "pass")}, clean="All")
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u"}
    made = rendered(manifest, kind_of(manifest), CONTEXT, 2, owner, "monday")
    metadata = made["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("j-r2", "team")
    assert metadata["annotations"][labels.SPEC_HASH] == identity.spec_hash(manifest)
    assert metadata["labels"] == {labels.MANAGED_BY: "shipway", JOB: "j-r2", BASE: "j", labels.ATTEMPT: "2"}
    assert metadata["ownerReferences"] == [owner]
    assert made["spec"]["runPolicy"]["cleanPodPolicy"] == "Running"
    template = made["spec"]["tfReplicaSpecs"]["Worker"]["template"]
    ours = {labels.MANAGED_BY: "shipway", JOB: "j-r2", PEERS: "j-r2", "sidecar.istio.io/inject": "false"}
    assert template["metadata"]["labels"] == ours
    container = template["spec"]["containers"][0]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["SHIPWAY_REPLICA"] == "worker-$(SHIPWAY_REPLICA_INDEX)"
    assert variables["SHIPWAY_PROGRESS"] == "s3://b/p/jobs/j-r2/progress/$(SHIPWAY_REPLICA).jsonl"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert container["envFrom"] == [{"secretRef": {"name": "shipway-store", "optional": True}}]
    assert manifest == tfjob("j", {"Chief": "pass", "Worker": (2, "pass")}, clean="All"), "what was given is unchanged"


def test_what_the_manifest_says_wins() -> None:
    manifest = tfjob("j", {"Worker": "pass"}, env={"SHIPWAY_STORE": "s3://mine"})
    container = manifest["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"secretRef": {"name": "own"}}]
    made = rendered(manifest, kind_of(manifest), CONTEXT, 0, None, "")
    got = made["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    assert [each["value"] for each in got["env"] if each["name"] == "SHIPWAY_STORE"] == ["s3://mine"]
    assert got["envFrom"] == [{"secretRef": {"name": "own"}}]


@pytest.mark.parametrize("made", [mpijob("j", "pass"), mpijob("j", "pass", version="v2beta1"), batch_job("j", "pass")])
def test_every_kind_of_job_is_rendered(made: dict[str, Any]) -> None:
    found = rendered(made, kind_of(made), CONTEXT, 0, None, "")
    assert found["metadata"]["labels"][JOB] == "j"


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(
        InvalidSpec, match=r"cannot be played: 'kubeflow.org/v1 TFJobs'.*did you mean 'kubeflow.org/v1 TFJob'"
    ):
        kind_of({"apiVersion": "kubeflow.org/v1", "kind": "TFJobs"})


def test_conditions_become_states() -> None:
    assert job_state(job())[0] == "Pending"
    assert job_state(job("Created", "Running"))[0] == "Running"
    assert job_state(job("Created", "Suspended"))[0] == "Suspended"
    assert job_state(job("Created", "Failed")) == ("Failed", "it is Failed")
    assert job_state(job("Complete"))[0] == "Succeeded"


def test_pods_tell_how_they_ended() -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "message": "a\nb\n", "finishedAt": "2026-11-21T12:00:01Z"}
    state = pod_state(pod(terminated=ended))
    assert (state.replica, state.exit_code, state.reason, state.last_lines) == (
        "worker-1",
        137,
        "OOMKilled",
        ("a", "b"),
    )
    assert state.ended_at == seconds_of("2026-11-21T12:00:01Z") > 0
    killed = pod_state(pod(terminated={"exitCode": 137, "reason": "Error"}))
    assert killed.reason == "Signal 9 (SIGKILL)"
    evicted = pod()
    evicted["status"] = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    assert (pod_state(evicted).reason, pod_state(evicted).has_failed) == ("Evicted", True)
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    waits = pod()
    waits["status"] = {"phase": "Pending", "conditions": [unplaced]}
    assert (pod_state(waits).waiting, pod_state(waits).message) == ("Unschedulable", "0/1 nodes")


def test_the_first_failure_is_not_the_lost_peer() -> None:
    lost = {"exitCode": 143, "reason": "Error", "finishedAt": "2026-11-21T12:00:01Z"}
    cause = {"exitCode": 9, "reason": "Error", "finishedAt": "2026-11-21T12:00:01Z", "message": "bad shard"}
    view, events = seen(
        ("Pod", pod("worker-0", uid="a", running={})),
        ("Pod", pod("worker-1", uid="b", running={})),
        ("Pod", pod("worker-0", uid="a", terminated=lost)),
        ("Pod", pod("worker-1", uid="b", terminated=cause)),
        ("TFJob", job("Failed")),
    )
    outcome = view.outcome("Failed")
    assert outcome.first_failure is not None
    assert (outcome.first_failure.replica, outcome.first_failure.last_lines) == ("worker-1", ["bad shard"])
    assert [event.kind for event in events] == ["started", "started", "ended", "ended", "failed"]


def test_a_pod_that_a_drain_took_is_the_reason_though_the_jobs_end_is_told_first() -> None:
    evicted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    for conditions, reason in (([evicted], "EvictionByEvictionAPI"), ([], None)):
        leaving = pod("worker-0")
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        leaving["status"]["conditions"] = conditions
        view, _ = seen(("TFJob", job("Running")), ("Pod", pod("worker-0")), ("TFJob", job("Failed")), ("Pod", leaving))
        failure = view.outcome("Failed").first_failure
        assert (failure.reason if failure else None) == reason


def test_a_pod_that_follows_another_is_a_restart_and_one_in_place_is_one_too() -> None:
    ended = {"exitCode": 137, "reason": "Error"}
    view, events = seen(
        ("Pod", pod("worker-0", uid="a", running={})),
        ("Pod", pod("worker-0", uid="a", terminated=ended)),
        ("Pod", pod("worker-0", uid="b", running={})),
        ("Pod", pod("worker-0", uid="b", restarts=1, last={"exitCode": 5, "message": "why"}, running={})),
        ("TFJob", job("Succeeded")),
    )
    assert view.restarts == 2
    assert [e.data.get("exit_code") for e in events if e.kind == "ended"] == [137, 5]
    assert [e.data["restart"] for e in events if e.kind == "started"] == [0, 1, 2]
    assert view.outcome("Succeeded").first_failure is None


def test_a_resume_is_no_restart() -> None:
    view, _ = seen(
        ("TFJob", job("Running")),
        ("Pod", pod("worker-0", uid="a", running={})),
        ("TFJob", job("Suspended")),
        ("gone", pod("worker-0", uid="a", running={})),
        ("Pod", pod("worker-0", uid="b", running={})),
        ("TFJob", job("Running")),
    )
    assert view.restarts == 0


def test_a_follower_keeps_little_of_an_object() -> None:
    whole = {**job("Running"), "spec": {"runPolicy": {"activeDeadlineSeconds": 5}, "tfReplicaSpecs": {"Worker": {}}}}
    assert slim(whole)["spec"] == {"runPolicy": {"activeDeadlineSeconds": 5}}


def test_a_step_is_owned_by_its_workflow_and_named_by_its_run() -> None:
    found = read_pod(
        {
            "metadata": {
                "name": "p-1", "namespace": "team", "labels": {"pipeline/runid": "run-7"},
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u",
                                     "controller": True}],
            },
            "spec": {"containers": [{"command": ["launcher", "--execution_id", "42", "--pod_name=x"], "args": ["sh"]}]},
        }
    )  # fmt: skip
    assert (found.run, found.execution, found.namespace) == ("run-7", "42", "team")
    assert found.owner == {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u",
                           "blockOwnerDeletion": False}  # fmt: skip


def test_a_step_knows_its_place_its_attempt_and_where_artifacts_are_made() -> None:
    uri = "s3://bucket/root/train-and-deploy/run-1/dataset/1f0e/dataset"
    several = [{"uri": f"s3://bucket/m{at}"} for at in range(2)]
    given = {
        "inputs": {
            "parameterValues": {"spec": "{}"},
            "artifacts": {"dataset": {"artifacts": [{"uri": uri}]}, "models": {"artifacts": several}},
        },
        "outputs": {"artifacts": {"model": {"artifacts": [{"uri": "s3://bucket/out"}]}}, "outputFile": "/tmp/o"},
    }
    metadata: dict[str, Any] = {"name": "p-1", "namespace": "team"}
    command = ["l", "--execution_id", "7", "--executor_input", json.dumps(given)]
    pod = {"metadata": metadata, "spec": {"containers": [{"command": command}]}}
    found = read_pod(pod)
    assert (found.attempt, found.place) == (0, Place("", "7")), "only Argo's path tells more"
    assert found.inputs == {"dataset": uri, "models.0": "s3://bucket/m0", "models.1": "s3://bucket/m1"}
    assert found.made == {"model": "s3://bucket/out"}
    node = "w.root.for-loop-1.iteration-iterations(3:3).iteration-item.tune.job.executor(2)"
    metadata["annotations"] = {"workflows.argoproj.io/node-name": node}
    assert (read_pod(pod).attempt, read_pod(pod).place) == (2, Place("tune.job", "3"))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ApiError(404, "NotFound", 'namespaces "team" not found'), NotFound, "kubectl create namespace team"),
        (
            ApiError(404, "NotFound", "the server could not find the requested resource"),
            NotFound,
            "install its operator",
        ),
        (ApiError(403, "Forbidden", "exceeded quota: gpus"), UserError, "quota of namespace team"),
        (ApiError(403, "Forbidden", 'User "a" cannot create'), UserError, "grant it with a Role"),
        (ApiError(403, "Forbidden", "admission webhook denied the request: no chief"), InvalidSpec, "no chief"),
        (ApiError(422, "Invalid", "spec.x: wrong"), InvalidSpec, "spec.x: wrong"),
    ],
)
def test_refusals_say_what_to_do(error: ApiError, kind: type[Exception], said: str) -> None:
    found = explain(error, "TFJob j", "team")
    assert isinstance(found, kind)
    assert said in str(found)
    assert "\n" not in str(found)


@pytest.mark.parametrize("main", ["tensorflow", "kserve-container"])
def test_a_meshs_container_is_not_taken_for_the_replica(main: str) -> None:
    """The kubelet lists statuses by name: `istio-proxy` comes before ours."""
    crashed = {"exitCode": 3, "message": "no such file", "finishedAt": "2026-01-01T00:00:00Z"}
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    proxy = {"name": "istio-proxy", "restartCount": 0, "state": {"running": {}}}
    ours = {"name": main, "restartCount": 4, "state": waits, "lastState": {"terminated": crashed}}
    found = pod()
    found["spec"]["containers"] = [{"name": "istio-proxy"}, {"name": main}]
    found["status"]["containerStatuses"] = [proxy, ours]
    for each in (found, slim(found)):
        state = pod_state(each)
        assert (state.container, state.waiting, state.start, state.last_lines) == (
            main, "CrashLoopBackOff", 4, ("no such file",),
        )  # fmt: skip


def test_a_name_that_looks_like_an_attempts_is_a_job_of_its_own() -> None:
    handle = Handle("TFJob", "resnet-r50", "team", "0", base="resnet-r50")
    assert identity.attempt_of(handle) == ("resnet-r50", 0)
    assert identity.attempt_of(Handle("TFJob", "resnet-r50-r2", "team", "0", base="resnet-r50")) == ("resnet-r50", 2)
    assert identity.attempt_of(Handle("TFJob", "j-r2", "team", "0")) == ("j", 2)


def test_a_process_that_spoke_to_a_cluster_ends_without_searching_the_client_for_garbage(tmp_path: Path) -> None:
    """0.4 s by which each step would outlast its job: what was registered first runs last and sees all frozen."""
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    config = {"clusters": [cluster], "contexts": [{"name": "x", "context": {"cluster": "c", "user": ""}}]}
    (tmp_path / "config").write_text(json.dumps({**config, "users": [], "current-context": "x"}))
    code = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 10_000))
from shipway.executors.kubernetes.api import Api
Api()
"""
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "config")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize("trial", [tfjob("t", {"Chief": "pass"}), batch_job("t", "pass")], ids=["TFJob", "Job"])
def test_katibs_trials_are_led_to_the_store(trial: dict[str, Any]) -> None:
    experiment = {
        "apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "e"},
        "spec": {"trialTemplate": {"trialSpec": trial}},
    }  # fmt: skip
    made = rendered(experiment, kind_of(experiment), CONTEXT, 0, None, "")
    assert json.dumps(made).count('"secretRef": {"name": "shipway-store", "optional": true}') == 1


def test_a_trial_of_a_kind_that_we_do_not_know_is_left_as_it_is() -> None:
    trial = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "spec": {}}
    experiment = {
        "apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "e"},
        "spec": {"trialTemplate": {"trialSpec": trial}},
    }  # fmt: skip
    made = rendered(experiment, kind_of(experiment), CONTEXT, 0, None, "")
    assert made["spec"]["trialTemplate"]["trialSpec"] == trial
