"""The launcher's Role is enough for the executor, no less would do, and nothing else is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shipway import mounted
from shipway.errors import UserError
from shipway.executors import Handle
from shipway.executors.kubernetes import KubernetesExecutor, own_pod
from shipway.executors.kubernetes.api import Api, ApiError
from shipway.executors.kubernetes.kinds import KINDS, kind_named
from shipway.executors.kubernetes.permissions import LAUNCHER
from shipway.executors.kubernetes.rendering import JOB
from tests.cluster import faults, overlays, workloads
from tests.cluster.bed import Bed, settings
from tests.cluster.installed import Installed, fresh, job
from tests.fixtures.executor_rigs import Following
from tests.fixtures.manifests import SLEEP, wait_for

pytestmark = pytest.mark.usefixtures("surroundings")

SAID = "not allowed in namespace"  # of our one line for a missing permission
GRANT = "grant it with a Role, as manifests/ has it"


# -- the launcher's Role is enough -------------------------------------------------------------------------------------


def test_a_step_with_the_role_alone_does_all_it_must(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", settings.API_SERVICE_IP)  # a step runs in a pod
    executor = installed.executor(installed.token("pipeline-runner"), tmp_path)
    kind = kind_named("TFJob")
    done = executor.ensure(job(kind, fresh(), "print('hello')", suspended=False))
    assert executor.follow(done, deadline_s=120).state == "Succeeded"
    assert [line.text for line in executor.logs(done)] == ["hello"]
    sleeper = executor.ensure(job(kind, fresh(), "print('on', flush=True); " + SLEEP, suspended=False))
    following = Following(executor, sleeper)
    wait_for(lambda: following.saw("started"), "it runs")
    assert wait_for(lambda: [line.text for line in executor.logs(sleeper)], "it says so") == ["on"]
    executor.suspend(sleeper)
    wait_for(lambda: following.saw("suspended"), "it is suspended")
    executor.resume(sleeper)
    wait_for(lambda: following.saw("resumed"), "it runs again")
    executor.cancel(sleeper)
    assert following.outcome().state == "Cancelled"


def test_a_step_with_the_role_alone_serves(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", settings.API_SERVICE_IP)
    executor = installed.executor(installed.token("pipeline-runner"), tmp_path)
    service = workloads.inference_service(fresh())
    service["spec"]["predictor"]["maxReplicas"] = 2
    handle = executor.ensure(service)
    outcome = executor.follow(handle, deadline_s=120)
    assert (outcome.state, outcome.url) == ("Ready", f"http://{handle.name}-predictor.{installed.namespace}.svc")
    service["spec"]["predictor"]["containers"][0]["env"] = [{"name": "VERSION", "value": "2"}]
    assert executor.ensure(service).spec_hash != handle.spec_hash
    executor.cancel(handle)


# -- and no less would do ----------------------------------------------------------------------------------------------

_JOBS = {"tfjobs": "TFJob", "mpijobs": "MPIJob"}
# Without the Workflow the last step says less: tests/unit/components/notify.
CASES = [(each.resource, verb) for each in LAUNCHER for verb in each.verbs if each.resource != "workflows"]


@pytest.mark.parametrize(("resource", "verb"), CASES, ids=lambda value: value.replace("/", "-"))
def test_without_a_permission_one_line_says_which(
    installed: Installed, cluster: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resource: str, verb: str
) -> None:
    less = installed.executor(installed.account(fresh(), without=(resource, verb)), tmp_path)
    full = KubernetesExecutor(less.context)
    if resource in _JOBS:
        said = _without_job(less, full, cluster, _JOBS[resource], verb)
    elif resource == "inferenceservices":
        said = _without_service(less, full, verb)
    else:
        said = {
            "deployments": _without_deployments,
            "poddisruptionbudgets": _without_budgets,
            "networkpolicies": _without_network_policies,
            "events": _without_events,
            "pods/log": _without_log,
            "pods": {"get": _without_own_pod, "list": _without_pods, "watch": _without_pods}.get(verb),
        }[resource](installed, less, monkeypatch)  # type: ignore[operator]
    assert SAID in said
    assert GRANT in said
    asked = f'cannot {verb} resource "{resource.split("/")[0]}' + ("/log" if "/" in resource else "")
    assert asked in said
    assert "\n" not in said


def _without_job(less: KubernetesExecutor, full: KubernetesExecutor, cluster: Bed, name: str, verb: str) -> str:
    kind = KINDS[("kubeflow.org/v2beta1", name)] if name == "MPIJob" and cluster.mpi != "v1" else kind_named(name)
    manifest = job(kind, fresh())
    if verb in ("create", "list"):
        with pytest.raises(UserError) as refused:
            less.ensure(manifest)
        return str(refused.value)
    handle = full.ensure(manifest)
    try:
        less.ensure(manifest)  # it adopts
        absent = Handle(name, fresh(), handle.namespace, "")  # asked for by name
        less._kinds[absent.name] = kind
        act: Callable[[], object] = {
            "get": lambda: less.follow(absent, deadline_s=60),
            "watch": lambda: less.follow(handle, deadline_s=60),
            "patch": lambda: less.suspend(handle),
            "delete": lambda: less.cancel(handle),
        }[verb]
        with pytest.raises(UserError) as refused:
            act()
        return str(refused.value)
    finally:
        full.cancel(handle)


def _without_service(less: KubernetesExecutor, full: KubernetesExecutor, verb: str) -> str:
    service = workloads.inference_service(fresh())
    handle = full.ensure(service) if verb in ("update", "delete") else None
    service["spec"]["predictor"]["containers"][0]["env"] = [{"name": "VERSION", "value": "2"}]
    try:
        act = (lambda: less.cancel(handle)) if verb == "delete" and handle else (lambda: less.ensure(service))
        with pytest.raises(UserError) as refused:
            act()
        return str(refused.value)
    finally:
        if handle is not None:
            full.cancel(handle)


def _without_deployments(_installed: Installed, less: KubernetesExecutor, _patch: pytest.MonkeyPatch) -> str:
    handle = less.ensure(workloads.inference_service(fresh()))
    try:
        with pytest.raises(UserError) as refused:
            less.follow(handle, deadline_s=120)
        return str(refused.value)
    finally:
        less.cancel(handle)


def _without_budgets(_installed: Installed, less: KubernetesExecutor, _patch: pytest.MonkeyPatch) -> str:
    service = workloads.inference_service(fresh())
    service["spec"]["predictor"]["maxReplicas"] = 2
    try:
        with pytest.raises(UserError) as refused:
            less.ensure(service)
        return str(refused.value)
    finally:
        less.cancel(Handle("InferenceService", service["metadata"]["name"], less.context.namespace, ""))


def _without_network_policies(_installed: Installed, less: KubernetesExecutor, _patch: pytest.MonkeyPatch) -> str:
    """A job whose replicas could not reach each other is not followed."""
    manifest = job(kind_named("TFJob"), fresh())
    manifest["spec"]["tfReplicaSpecs"]["Chief"]["replicas"] = 1
    manifest["spec"]["tfReplicaSpecs"]["Worker"] = manifest["spec"]["tfReplicaSpecs"]["Chief"]
    with pytest.raises(UserError) as refused:
        less.ensure(manifest)
    less.cancel(Handle("TFJob", manifest["metadata"]["name"], less.context.namespace, ""))
    return str(refused.value)


def _without_events(installed: Installed, less: KubernetesExecutor, _patch: pytest.MonkeyPatch) -> str:
    """Nothing fails, but why a job has no pods stays unknown; that is told."""
    installed.kubectl("create", "quota", "none", "--hard=pods=0", "-n", installed.namespace)
    try:
        wait_for(lambda: installed.kubectl.get("quota", "none", "-n", installed.namespace)["status"].get("hard"), "set")
        handle = less.ensure(job(kind_named("TFJob"), fresh(), suspended=False))
        told: list[str] = []
        less.follow(handle, deadline_s=15, on_event=lambda event: told.append(event.message))
    finally:
        installed.kubectl("delete", "quota", "none", "-n", installed.namespace)
    return next(message for message in told if SAID in message)


def _without_log(installed: Installed, less: KubernetesExecutor, _patch: pytest.MonkeyPatch) -> str:
    name = fresh()
    pod = workloads.pod(name, "print('hello')")
    pod["metadata"] |= {"namespace": installed.namespace, "labels": {JOB: name}}
    installed.kubectl.apply(document=pod)
    done = "--for=jsonpath={.status.phase}=Succeeded"
    installed.kubectl("wait", done, f"pod/{name}", "-n", installed.namespace, "--timeout=120s")
    for follow in (True, False):
        with pytest.raises(UserError) as refused:
            list(less.logs(Handle("TFJob", name, installed.namespace, ""), follow=follow))
    return str(refused.value)


def _without_pods(_installed: Installed, less: KubernetesExecutor, _patch: pytest.MonkeyPatch) -> str:
    handle = less.ensure(job(kind_named("TFJob"), fresh()))
    with pytest.raises(UserError) as refused:
        less.follow(handle, deadline_s=60)
    return str(refused.value)


def _without_own_pod(installed: Installed, less: KubernetesExecutor, patch: pytest.MonkeyPatch) -> str:
    file = less.context.home / "namespace"
    file.write_text(installed.namespace, encoding="utf-8")
    patch.setattr(mounted, "SERVICE_ACCOUNT_NAMESPACE", file)
    patch.setattr(own_pod, "Api", lambda: less.api)
    patch.setenv("KFP_POD_NAME", "step")
    own_pod.own_pod.cache_clear()
    with pytest.raises(UserError) as refused:
        own_pod.own_pod()
    return str(refused.value)


# -- nor is anything else allowed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["pipeline-runner", "shipway-reaper", "shipway-replica", "shipway-predictor"])
def test_an_account_may_do_what_its_role_says_and_nothing_else(installed: Installed, account: str) -> None:
    api = Api(lambda: faults.client_with(installed.token(account)))

    def rules(namespace: str) -> set[tuple[str, str, str]]:
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
                  "spec": {"namespace": namespace}}  # fmt: skip
        found = api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)["status"]["resourceRules"]
        return {
            (group, resource, verb)
            for rule in found
            for group in rule.get("apiGroups") or [""]
            for resource in rule["resources"]
            for verb in rule["verbs"]
            if not group.endswith(("authorization.k8s.io", "authentication.k8s.io"))  # questions about oneself
        }

    role = {"pipeline-runner": "shipway-launcher"}.get(account, account)
    given = overlays.role(installed.objects, role)["rules"] if role in ("shipway-launcher", "shipway-reaper") else []
    expected = {
        (group, resource, verb)
        for rule in given
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rules(installed.namespace) == expected
    assert rules("default") == set()


@pytest.mark.parametrize("path", [
    "/api/v1/namespaces/{own}/secrets",
    "/api/v1/namespaces/{own}/secrets/shipway-store",
    "/api/v1/namespaces/{own}/configmaps",
    "/api/v1/namespaces/{own}/services",
    "/api/v1/namespaces/default/pods",
    "/apis/kubeflow.org/v1/namespaces/default/tfjobs",
    "/apis/kubeflow.org/v1/tfjobs",
    "/api/v1/nodes",
    "/api/v1/namespaces",
])  # fmt: skip
def test_a_step_reads_nothing_that_is_not_its_own(installed: Installed, path: str) -> None:
    api = Api(lambda: faults.client_with(installed.token("pipeline-runner")))
    with pytest.raises(ApiError) as refused:
        api.get(path.format(own=installed.namespace))
    assert refused.value.status == 403
