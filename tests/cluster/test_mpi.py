"""MPIJobs of both operators through the executor."""

from __future__ import annotations

import re

import pytest

from shipway import labels
from shipway.errors import NotFound
from shipway.executors import Event, Manifest, identity
from shipway.executors.kubernetes import mpi
from tests.cluster import workloads
from tests.cluster.bed import Bed
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures.executor_rigs import Following
from tests.fixtures.kubernetes_rig import KubernetesRig
from tests.fixtures.manifests import wait_for

pytestmark = pytest.mark.alone

VERSIONS = ["v1", "v2beta1"]
MPIRUN = workloads.MPIRUN


def job(version: str, *rank: str) -> Manifest:
    """Two ranks that run a command."""
    made = workloads.mpijob("ring", version)
    if version == "v2beta1":  # its launcher is a batch Job that would try six times, at first before there are workers
        made["spec"] |= {"launcherCreationPolicy": "WaitForWorkersReady"}
        made["spec"]["runPolicy"]["backoffLimit"] = 1
    if rank:
        launcher = made["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
        launcher["command"] = [*MPIRUN, *rank]
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_two_ranks_are_played_followed_and_given_back(cluster: Bed, kube_rig: KubernetesRig, version: str) -> None:
    cluster.use_mpi(version)
    events: list[Event] = []
    handle = kube_rig.executor.ensure(job(version))
    outcome = kube_rig.executor.follow(handle, on_event=events.append)
    assert outcome.state == "Succeeded", outcome
    assert {"worker-0", "worker-1"} <= {e.data.get("replica") for e in events if e.kind == "started"}
    lines = [line.text for line in kube_rig.executor.logs(handle) if line.replica.startswith("launcher")]
    assert len([text for text in lines if re.search(r"\b2\b", text)]) >= 2, lines
    again = kube_rig.another()
    assert again.ensure(job(version)).adopted
    assert again.follow(again.ensure(job(version))).state == "Succeeded"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_job_that_is_written_once_is_played_by_whichever_operator_is_there(
    cluster: Bed, kube_rig: KubernetesRig, version: str
) -> None:
    cluster.use_mpi(version)
    made = workloads.mpijob("once", "v1")
    made["metadata"]["annotations"] = {labels.SSH_AUTH: "/root/.ssh"}
    waiting = made["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    waiting["command"] = ["start-sshd"]  # for v1 a process like any other
    waiting["readinessProbe"] = {"tcpSocket": {"port": 22}, "periodSeconds": 1}
    kube_rig.executor.check(made)
    handle = kube_rig.executor.ensure(made)
    outcome = kube_rig.executor.follow(handle)
    assert outcome.state == "Succeeded", outcome
    assert handle.spec_hash == identity.spec_hash(made)
    path = f"/apis/kubeflow.org/{version}/namespaces/{handle.namespace}/mpijobs/{handle.name}"
    assert kube_rig.api.get(path)["metadata"]["annotations"][labels.SPEC_HASH] == handle.spec_hash
    assert kube_rig.another().ensure(made).adopted


def test_without_any_mpi_operator_what_to_install_is_told(
    cluster: Bed, kubectl: Kubectl, kube_rig: KubernetesRig
) -> None:
    cluster.use_mpi("v1")
    kubectl("delete", "crd", "mpijobs.kubeflow.org", "--wait")
    try:
        wait_for(lambda: mpi.served(kube_rig.api) == [], "the kind is gone")
        for act in (kube_rig.executor.ensure, kube_rig.executor.check):
            with pytest.raises(NotFound, match=r"this cluster serves none .*install one: kubectl apply"):
                act(job("v1"))
    finally:
        cluster.use_mpi("v1")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rank_that_fails_fails_the_job_with_its_last_lines(
    cluster: Bed, kube_rig: KubernetesRig, version: str
) -> None:
    cluster.use_mpi(version)
    code = "import sys; print('bad shard', flush=True); sys.exit(9)"
    handle = kube_rig.executor.ensure(job(version, "python", "-c", code))
    outcome = kube_rig.executor.follow(handle)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert outcome.first_failure.replica.startswith("launcher")
    assert "bad shard" in "\n".join(outcome.first_failure.last_lines)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cancelled_job_leaves_no_pod_that_runs(cluster: Bed, kube_rig: KubernetesRig, version: str) -> None:
    cluster.use_mpi(version)
    handle = kube_rig.executor.ensure(job(version, "sleep", "120"))
    following = Following(kube_rig.executor, handle)
    wait_for(lambda: any(name.startswith("launcher") for name in kube_rig.alive(handle)), "the launcher runs")
    kube_rig.executor.cancel(handle)
    assert following.outcome().state == "Cancelled"
    assert kube_rig.alive(handle) == []
