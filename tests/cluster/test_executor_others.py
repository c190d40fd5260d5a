"""What other people made, or took away, and what a job that is given up leaves behind."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from shipway import labels
from shipway.errors import Conflict
from shipway.executors import Event, Handle, Outcome, play
from shipway.executors.kubernetes import services
from shipway.executors.kubernetes.kinds import kind_named
from tests.cluster import workloads
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures.kubernetes_rig import KubernetesRig
from tests.fixtures.manifests import SLEEP, tfjob, wait_for

SAVES = """
import signal, sys, time
def save(*_):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("began", flush=True)
time.sleep(600)
"""


def test_a_service_that_somebody_else_made_is_neither_replaced_nor_deleted(
    kube_rig: KubernetesRig, kubectl: Kubectl
) -> None:
    namespace = kube_rig.context.namespace
    theirs = workloads.inference_service("sums")
    kubectl("apply", "-n", namespace, "-f", "-", document=theirs)
    before = kubectl.get("inferenceservice", "sums", "-n", namespace)["metadata"]
    ours = workloads.inference_service("sums")
    ours["spec"]["predictor"]["minReplicas"] = 2
    for attempt in (
        lambda: kube_rig.executor.ensure(ours),
        lambda: kube_rig.executor.cancel(Handle("InferenceService", "sums", namespace, "")),
        lambda: services.check_names(kube_rig.api, namespace, ["other", "sums"]),
    ):
        with pytest.raises(Conflict, match="was not made by Shipway and is left alone") as refused:
            attempt()
        assert "\n" not in str(refused.value)
    after = kubectl.get("inferenceservice", "sums", "-n", namespace)["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    kubectl("label", "-n", namespace, "inferenceservice", "sums", f"{labels.MANAGED_BY}=shipway")  # as the line says
    kube_rig.executor.cancel(Handle("InferenceService", "sums", namespace, ""))
    assert kube_rig.api.find(services.KIND.path(namespace, "sums")) is None


def test_a_job_that_a_person_deleted_is_not_made_again(kube_rig: KubernetesRig) -> None:
    handles: list[Handle] = []
    events: list[Event] = []
    ended: list[tuple[Handle, Outcome]] = []

    def follow() -> None:
        made = tfjob("j", {"Worker": SLEEP})
        ended.append(play(kube_rig.executor, made, backoff_limit=3, on_start=handles.append, on_event=events.append))

    playing = threading.Thread(target=follow, daemon=True)
    playing.start()
    path = f"{kind_named('TFJob').path(kube_rig.context.namespace)}/j"
    wait_for(lambda: any(event.kind == "started" for event in events), "it runs")
    kube_rig.api.delete(path)
    playing.join(60)
    assert len(ended) == 1
    outcome = ended[0][1]
    assert outcome.first_failure is not None
    assert (outcome.state, outcome.first_failure.reason, len(handles)) == ("Failed", "Deleted", 1)
    assert kube_rig.api.find(path) is None


def test_a_job_past_its_deadline_leaves_all_its_lines(kube_rig: KubernetesRig, cluster_store_uri: str) -> None:
    handle = kube_rig.executor.ensure(tfjob("j", {"Worker": SAVES}, grace_s=20))
    wait_for(lambda: "began" in _texts(kube_rig, handle), "it runs")
    outcome = kube_rig.executor.follow(handle, deadline_s=0.1)
    assert outcome.state == "Failed"
    assert "deadline_s" in outcome.message
    assert kube_rig.pods(handle) == []
    assert _texts(kube_rig, handle) == ["began", "saved"]


def _texts(rig: KubernetesRig, handle: Handle) -> list[Any]:
    return [line.text for line in rig.executor.logs(handle)]
