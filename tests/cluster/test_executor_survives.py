"""What goes wrong around a job that is waited for, each with the real thing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shipway.errors import Conflict, InvalidSpec, NotFound, UserError
from shipway.executors import Handle, Manifest, Outcome, play
from shipway.executors.kubernetes.api import Api
from shipway.executors.kubernetes.states import pod_state
from shipway.executors.kubernetes.watching import Feed
from tests.cluster import faults
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures.executor_rigs import Following
from tests.fixtures.kubernetes_rig import KubernetesRig, counted
from tests.fixtures.manifests import SLEEP, changed, tfjob, wait_for

LOOPS = int(os.environ.get("SHIPWAY_LOOPS", "20"))
CONTAINER = "spec.tfReplicaSpecs.Worker.template.spec.containers.0"
WAITS = "import time; time.sleep(12)"


def started(rig: KubernetesRig, manifest: Manifest) -> tuple[Handle, Following]:
    """A job whose replicas run, and its follower."""
    handle = rig.executor.ensure(manifest)
    following = Following(rig.executor, handle)
    wait_for(lambda: following.saw("started"), "it runs")
    return handle, following


@pytest.mark.alone
def test_the_api_server_is_restarted_during_a_wait(kubectl: Kubectl, kube_rig: KubernetesRig) -> None:
    _, following = started(kube_rig, tfjob("j", {"Worker": WAITS}))
    faults.stop_api_server()
    wait_for(lambda: following.saw("warning"), "the follower notices")
    faults.start_api_server(kubectl)
    outcome = following.outcome()
    assert (outcome.state, outcome.restarts) == ("Succeeded", 0)


@pytest.mark.alone
def test_a_job_is_created_once_though_the_api_server_goes_away_meanwhile(
    kubectl: Kubectl, kube_rig: KubernetesRig
) -> None:
    faults.stop_api_server()
    made: list[Handle] = []
    following = Following(_Ensuring(kube_rig, made), Handle("TFJob", "j", "", ""))  # type: ignore[arg-type]
    time.sleep(1)
    faults.start_api_server(kubectl)
    following.outcome()
    assert [handle.name for handle in made] == ["j"]
    kube_rig.executor.cancel(made[0])


class _Ensuring:
    """`ensure` in the place of `follow`, so that it runs in a thread."""

    def __init__(self, rig: KubernetesRig, made: list[Handle]) -> None:
        self.rig, self.made = rig, made

    def follow(self, *_: Any, **__: Any) -> Any:
        self.made.append(self.rig.executor.ensure(tfjob("j", {"Worker": SLEEP})))
        return Outcome("Succeeded")


@pytest.mark.alone
def test_an_expired_watch_starts_again_from_a_list(kube_rig: KubernetesRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shipway.executors.kubernetes.watching.LISTS_APART_S", 1.0)
    errors: list[int] = []
    real = Feed._watch

    def from_long_ago(feed: Feed) -> Iterator[Any]:
        if not errors:
            feed._version = "1"  # the server has forgotten it: it says 410
        try:
            yield from real(feed)
        except Exception as error:
            errors.append(getattr(error, "status", -1))
            raise

    version = kube_rig.api.get("/api/v1/namespaces", limit="1")["metadata"]["resourceVersion"]
    faults.compact(int(version) - 1)
    monkeypatch.setattr(Feed, "_watch", from_long_ago)
    handle = kube_rig.executor.ensure(tfjob("j", {"Worker": WAITS}))
    assert kube_rig.executor.follow(handle).state == "Succeeded"
    assert errors[0] == 410


def test_throttling_is_waited_out(kube_rig: KubernetesRig, kubectl: Kubectl) -> None:
    user = faults.account(kubectl, kube_rig.context.namespace, "slow")
    api = Api(user.client)
    path = f"/api/v1/namespaces/{kube_rig.context.namespace}/pods"
    # This account alone gets one request at a time, and 429 for what comes meanwhile.
    kubectl.apply(document=_level())
    kubectl.apply(document=_flow(kube_rig.context.namespace, "slow"))
    try:
        with ThreadPoolExecutor(12) as pool:
            wait_for(lambda: 429 in pool.map(lambda _: _status(api, path), range(24)), "the server throttles")

            def is_throttled() -> bool:
                before = api.calls
                assert list(pool.map(lambda _: api.get(path)["items"], range(48))) == [[] for _ in range(48)]
                return api.calls > before + 48

            wait_for(is_throttled, "a request is refused and asked again")
    finally:
        kubectl("delete", "flowschema,prioritylevelconfiguration", "shipway-test")


def _status(api: Api, path: str) -> int:
    from shipway.executors.kubernetes.api import ApiError

    try:
        api.request("GET", path, patience_s=0)
    except ApiError as error:
        return error.status
    return 200


def _level() -> dict[str, Any]:
    limited = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "shipway-test"},
        "spec": {"type": "Limited", "limited": {**limited, "limitResponse": {"type": "Reject"}}},
    }


def _flow(namespace: str, account: str) -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "serviceAccount": {"name": account, "namespace": namespace}}
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": "shipway-test"},
        "spec": {
            "priorityLevelConfiguration": {"name": "shipway-test"},
            "matchingPrecedence": 2,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [subject], "resourceRules": [rule]}],
        },
    }


def test_a_token_that_was_changed_is_read_again(kube_rig: KubernetesRig, kubectl: Kubectl) -> None:
    first = faults.account(kubectl, kube_rig.context.namespace, "first")
    second = faults.account(kubectl, kube_rig.context.namespace, "second")
    tokens = [first.token, second.token]
    api = Api(lambda: faults.client_with(tokens[0]))
    path = f"/api/v1/namespaces/{kube_rig.context.namespace}/pods"
    assert api.get(path)["items"] == []
    first.revoke()
    wait_for(lambda: _refuses(first.token, path), "the first token is refused")
    tokens.pop(0)
    assert api.get(path)["items"] == [], "the client read the new one by itself"
    second.revoke()
    with pytest.raises(UserError, match=r"refuses the credentials \(401\).*log in again"):
        wait_for(lambda: api.get(path) is None, "it is refused")


def _refuses(token: str, path: str) -> bool:
    try:
        Api(lambda: faults.client_with(token)).get(path)
    except UserError:
        return True
    return False


def test_a_step_killed_at_any_instant_leaves_one_job_that_the_next_adopts(kube_rig: KubernetesRig) -> None:
    chance = random.Random(30)
    manifest = counted(tfjob("j", {"Worker": SLEEP}), kube_rig.context.namespace)
    code = f"""
import json, sys
from pathlib import Path
from shipway.context import Context
from shipway.executors.kubernetes import KubernetesExecutor
context = Context(home=Path("."), store_uri={kube_rig.context.store_uri!r}, run="run", executor="kubernetes",
                  namespace={kube_rig.context.namespace!r})
executor = KubernetesExecutor(context)
print("go", flush=True)
executor.follow(executor.ensure({manifest!r}))
"""
    path = f"/apis/kubeflow.org/v1/namespaces/{kube_rig.context.namespace}/tfjobs"
    made, span_s = 0, 0.8
    for _ in range(max(LOOPS // 2, 1)):
        step = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert step.stdout is not None
        step.stdout.readline()
        time.sleep(chance.uniform(0, span_s))
        step.kill()
        step.wait()
        names = [job["metadata"]["name"] for job in kube_rig.api.get(path)["items"]]
        assert names in ([], ["j"])
        made += bool(names)
        span_s *= 1 if made else 2  # a busy machine's steps take longer to come that far
    assert made, "no step lived long enough"
    handle = kube_rig.executor.ensure(manifest)
    assert handle.name == "j"
    assert len(kube_rig.api.get(path)["items"]) == 1
    kube_rig.executor.cancel(handle)
    assert kube_rig.pods(handle) == [] or kube_rig.alive(handle) == []


def test_a_quota_that_refuses_pods_is_told_and_its_end_lets_the_job_go_on(
    kube_rig: KubernetesRig, kubectl: Kubectl
) -> None:
    namespace = kube_rig.context.namespace
    kubectl.apply(document=_quota(namespace, "pods"))
    handle = kube_rig.executor.ensure(tfjob("j", {"Worker": "pass"}))
    following = Following(kube_rig.executor, handle)
    wait_for(lambda: any("exceeded quota" in e.message for e in following.events if e.kind == "waiting"), "it says so")
    kubectl("delete", "resourcequota", "none", "-n", namespace)
    assert following.outcome().state == "Succeeded"


def _quota(namespace: str, what: str) -> dict[str, Any]:
    metadata = {"name": "none", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {what: "0"}}}


def test_a_quota_that_refuses_jobs_is_one_line(kube_rig: KubernetesRig, kubectl: Kubectl) -> None:
    namespace = kube_rig.context.namespace
    kubectl.apply(document=_quota(namespace, "count/tfjobs.kubeflow.org"))
    wait_for(
        lambda: kubectl.get("resourcequota", "none", "-n", namespace).get("status", {}).get("hard"), "it is in force"
    )
    with pytest.raises(UserError, match=rf"TFJob j: quota of namespace {namespace} refuses it .*exceeded quota"):
        kube_rig.executor.ensure(tfjob("j", {"Worker": "pass"}))


def test_a_drained_node_ends_no_job_and_uses_up_no_attempt(kube_rig: KubernetesRig) -> None:
    # The operator takes the evicted pod's end for a failure of the job; the next attempt is free.
    code = "import os, time; os.environ['SHIPWAY_ATTEMPT'] != '0' or time.sleep(120)"
    manifest = tfjob("j", {"Worker": code}, restart="ExitCode", grace_s=1)
    played: list[tuple[Handle, Outcome]] = []
    thread = threading.Thread(target=lambda: played.append(play(kube_rig.executor, manifest, backoff_limit=0)))
    thread.start()
    first = Handle("TFJob", "j", kube_rig.context.namespace, "")
    wait_for(lambda: kube_rig.alive(first) == ["worker-0"], "it runs")
    path = f"/api/v1/namespaces/{kube_rig.context.namespace}/pods/j-worker-0"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "j-worker-0"}}
    kube_rig.api.post(f"{path}/eviction", eviction)
    thread.join(60)
    handle, outcome = played[0]
    assert outcome.state == "Succeeded", outcome
    assert (handle.name, outcome.restarts) in (("j", 1), ("j-r1", 0))


def test_another_clock_than_the_servers_keeps_its_deadlines(
    kube_rig: KubernetesRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr("shipway.executors.kubernetes.api.time.time", lambda: real() + 3600)
    handle = kube_rig.executor.ensure(tfjob("j", {"Worker": "import time; time.sleep(3)"}, activeDeadlineSeconds=60))
    assert kube_rig.executor.follow(handle).state == "Succeeded"


def test_memory_that_ran_out_is_told(kube_rig: KubernetesRig) -> None:
    manifest = tfjob("j", {"Worker": "print('loading', flush=True); data = bytearray(200_000_000)"})
    manifest = changed(manifest, f"{CONTAINER}.resources", {"limits": {"memory": "30Mi"}})
    outcome = kube_rig.executor.follow(kube_rig.executor.ensure(manifest))
    assert outcome.first_failure is not None
    assert (outcome.first_failure.replica, outcome.first_failure.exit_code) == ("worker-0", 137)
    assert outcome.first_failure.reason == "OOMKilled"
    assert outcome.first_failure.last_lines == ["loading"]


def test_an_image_that_does_not_exist_fails_the_job_and_is_named(
    kube_rig: KubernetesRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        monkeypatch.setitem(__import__("shipway.executors.kubernetes.states", fromlist=["x"]).STUCK_S, reason, 3.0)
    manifest = changed(tfjob("j", {"Worker": SLEEP}), f"{CONTAINER}.image", "localhost:9/none:1")
    outcome = kube_rig.executor.follow(kube_rig.executor.ensure(manifest))
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert outcome.first_failure.reason in ("ErrImagePull", "ImagePullBackOff")
    assert "localhost:9/none:1" in " ".join(outcome.first_failure.last_lines)
    assert kube_rig.pods(Handle("TFJob", "j", kube_rig.context.namespace, "")) == []


def test_a_gpu_that_no_node_has_is_told_while_waiting_and_at_the_deadline(kube_rig: KubernetesRig) -> None:
    manifest = changed(tfjob("j", {"Worker": SLEEP}), f"{CONTAINER}.resources", {"limits": {"nvidia.com/gpu": "1"}})
    handle = kube_rig.executor.ensure(manifest)
    following = Following(kube_rig.executor, handle, deadline_s=5)
    outcome = following.outcome()
    assert following.saw("waiting", reason="Unschedulable")
    assert outcome.first_failure is not None
    assert outcome.first_failure.reason == "Unschedulable"
    assert "nvidia.com/gpu" in " ".join(outcome.first_failure.last_lines)


def test_labels_and_replicas_names_are_found_on_the_pods(kube_rig: KubernetesRig) -> None:
    handle, following = started(kube_rig, tfjob("j", {"Chief": SLEEP, "Worker": (2, SLEEP)}))
    wait_for(lambda: len(kube_rig.alive(handle)) == 3, "all run")
    assert sorted(pod_state(pod).replica for pod in kube_rig.pods(handle)) == ["chief-0", "worker-0", "worker-1"]
    kube_rig.executor.cancel(handle)
    assert following.outcome().state == "Cancelled"


@pytest.mark.parametrize(
    ("manifest", "error", "said"),
    [
        (tfjob("j", {"Master": "pass", "Chief": "pass"}), InvalidSpec, "the cluster refuses the manifest"),
        ({"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "j"}, "spec": {}}, NotFound,
         "does not know this kind"),
        (tfjob("Upper", {"Worker": "pass"}), InvalidSpec, "DNS-1035"),
    ],
)  # fmt: skip
def test_what_the_cluster_refuses_is_one_line_before_anything_is_made(
    kube_rig: KubernetesRig, manifest: Manifest, error: type[Exception], said: str
) -> None:
    for attempt in (kube_rig.executor.check, kube_rig.executor.ensure):
        with pytest.raises(error, match=said) as caught:
            attempt(manifest)
        assert "\n" not in str(caught.value)


def test_a_namespace_that_is_missing_is_named(kube_rig: KubernetesRig) -> None:
    manifest = tfjob("j", {"Worker": "pass"})
    manifest["metadata"]["namespace"] = "nowhere"
    with pytest.raises(NotFound, match=r"namespace 'nowhere': there is none .*kubectl create namespace nowhere"):
        kube_rig.executor.ensure(manifest)


def test_a_job_that_others_made_is_not_adopted(kube_rig: KubernetesRig) -> None:
    manifest = tfjob("j", {"Worker": SLEEP})
    manifest["metadata"]["namespace"] = kube_rig.context.namespace
    kube_rig.api.post(f"/apis/kubeflow.org/v1/namespaces/{kube_rig.context.namespace}/tfjobs", manifest)
    with pytest.raises(Conflict, match="choose another name"):
        kube_rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))


def test_without_a_cluster_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"no cluster: .*set KUBECONFIG"):
        Api()
