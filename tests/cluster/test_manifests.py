"""What manifests/ installs applies, and what the bed can enforce is enforced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway.context import Context
from shipway.errors import UserError
from shipway.executors import Handle, Manifest
from shipway.executors.kubernetes import KubernetesExecutor
from shipway.executors.kubernetes.api import Api, ApiError
from shipway.executors.kubernetes.kinds import kind_named
from shipway.executors.kubernetes.services import POD_LABEL
from shipway.executors.kubernetes.states import pod_state
from tests.cluster import overlays, workloads
from tests.cluster.bed import Bed
from tests.cluster.bed.kubectl import Kubectl
from tests.cluster.installed import Installed, fresh, job
from tests.fixtures.manifests import wait_for
from tests.unit.executors.test_accounts import pods_in

pytestmark = pytest.mark.usefixtures("surroundings")

# -- it builds and applies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", overlays.OVERLAYS)
def test_an_overlay_builds_and_the_api_server_takes_it(
    name: str, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    objects = overlays.built(kubectl, overlays.overlay(tmp_path, name, namespace))
    assert {each["metadata"].get("namespace") for each in objects if each["kind"] != "Namespace"} == {namespace}
    for where, pod in pods_in(objects):
        assert "automountServiceAccountToken" in pod, where
        assert pod["serviceAccountName"].startswith("shipway-"), where
    items = [each for each in objects if each["kind"] != "Namespace"]
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    told = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", document=listed)
    assert told.count("serverside-applied") == len(items)


@pytest.mark.parametrize("name", overlays.COMPONENTS)
def test_a_component_joins_every_overlay(name: str, kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    for each in overlays.OVERLAYS:
        has = (overlays.MANIFESTS / "overlays" / each / "kustomization.yaml").read_text(encoding="utf-8")
        joined = () if f"components/{name}" in has else (name,)
        objects = overlays.built(kubectl, overlays.overlay(tmp_path / each, each, namespace, joined))
        here = [one for one in objects if one["apiVersion"].split("/")[0] not in overlays.ABSENT]
        listed = {"apiVersion": "v1", "kind": "List", "items": [one for one in here if one["kind"] != "Namespace"]}
        kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", document=listed)
        kinds = {one["kind"] for one in objects}
        shown = {"clients": "NetworkPolicy", "kueue": "ClusterQueue", "monitoring": "ServiceMonitor",
                 "quota": "ResourceQuota"}  # fmt: skip
        assert shown[name] in kinds


def test_applying_twice_changes_nothing(installed: Installed, cluster: Bed, tmp_path: Path) -> None:
    get = ("get", "role,rolebinding,networkpolicy,cronjob,pdb,limitrange,resourcequota,secret", "-n",
           installed.namespace, "-o", "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.generation} "
           "{.metadata.uid}{'\\n'}{end}")  # fmt: skip
    before = installed.kubectl(*get)
    keys = overlays.stored(cluster.store_environment, installed.store_uri)
    overlays.install(installed.kubectl, tmp_path, "dev", installed.namespace, keys)
    assert installed.kubectl(*get) == before


def test_the_reapers_pod_is_admitted_where_pod_security_is_restricted(
    installed: Installed, kubectl: Kubectl, namespace: str
) -> None:
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    cron = next(each for each in installed.objects if each["kind"] == "CronJob")
    # Of the whole overlay only the pod is put here, where its account is not.
    spec = dict(cron["spec"]["jobTemplate"]["spec"]["template"]["spec"], serviceAccountName="default")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reaper", "namespace": namespace}, "spec": spec}
    kubectl("create", "--dry-run=server", "-f", "-", document=pod)
    spec["containers"][0].pop("securityContext")
    assert not kubectl.succeeds("create", "--dry-run=server", "-f", "-", document=pod)


# -- limits ------------------------------------------------------------------------------------------------------------


def test_an_endpoint_is_drained_one_pod_at_a_time_whatever_the_others_do(installed: Installed, tmp_path: Path) -> None:
    executor = KubernetesExecutor(
        Context(tmp_path, installed.store_uri, "run", "kubernetes", installed.namespace), Api()
    )
    budgets = f"/apis/policy/v1/namespaces/{installed.namespace}/poddisruptionbudgets"
    broken = executor.ensure(_endpoint(fresh(), 2, is_ready=False))
    handle = executor.ensure(_endpoint(fresh(), 2))
    assert executor.ensure(_endpoint(handle.name, 2)).adopted
    assert executor.follow(handle, deadline_s=120).state == "Ready"

    def pods(name: str) -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{installed.namespace}/pods"
        items: list[dict[str, Any]] = executor.api.get(path, labelSelector=f"{POD_LABEL}={name}")["items"]
        return [pod for pod in items if pod_state(pod).phase == "Running"]

    def budget(name: str) -> dict[str, Any]:
        owned = [each for each in executor.api.get(budgets)["items"] if each["metadata"]["name"].startswith(f"{name}-")]
        assert len(owned) == 1
        status: dict[str, Any] = owned[0]["status"]
        return status

    # The second pod comes by way of the autoscaler.
    wait_for(lambda: len(pods(handle.name)) == len(pods(broken.name)) == 2, "both run")
    wait_for(lambda: budget(broken.name).get("expectedPods") == 2, "its budget counts them")
    assert budget(broken.name)["disruptionsAllowed"] == 0
    wait_for(lambda: budget(handle.name).get("disruptionsAllowed") == 1, "the budget counts them")
    first, second = (_evict(executor.api, pod["metadata"]) for pod in pods(handle.name))
    assert (first, second) == (201, 429)
    assert [_evict(executor.api, pod["metadata"]) for pod in pods(broken.name)] == [201, 201]  # it keeps nobody
    for each in (handle, broken):
        executor.cancel(each)
    wait_for(lambda: executor.api.get(budgets)["items"] == [], "budgets go with their endpoints")


def test_an_endpoint_of_one_replica_keeps_no_node(installed: Installed, tmp_path: Path) -> None:
    executor = KubernetesExecutor(
        Context(tmp_path, installed.store_uri, "run", "kubernetes", installed.namespace), Api()
    )
    handle = executor.ensure(_endpoint(fresh(), 1))
    owners = [
        owner["name"]
        for each in executor.api.get(f"/apis/policy/v1/namespaces/{installed.namespace}/poddisruptionbudgets")["items"]
        for owner in each["metadata"].get("ownerReferences") or []
    ]
    assert handle.name not in owners
    executor.cancel(handle)


def _endpoint(name: str, replicas: int, *, is_ready: bool = True) -> Manifest:
    service = workloads.inference_service(name)
    predictor = service["spec"]["predictor"]
    predictor |= {"minReplicas": replicas, "maxReplicas": replicas}
    if not is_ready:
        predictor["containers"][0]["readinessProbe"] = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    return service


def _evict(api: Api, metadata: dict[str, Any]) -> int:
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": metadata["name"]}}
    try:
        api.request("POST", path, body=body, patience_s=0)
    except ApiError as error:
        return error.status
    return 201


def test_pods_that_ask_for_nothing_get_the_namespaces_defaults(installed: Installed) -> None:
    pod = workloads.pod("asks-nothing", "pass")
    pod["metadata"]["namespace"] = installed.namespace
    made = json.loads(installed.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", document=pod))
    given = made["spec"]["containers"][0]["resources"]
    assert given == {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "2Gi"}}


def test_the_quota_refuses_what_is_too_much(installed: Installed, tmp_path: Path) -> None:
    patch = json.dumps({"spec": {"hard": {"count/tfjobs.kubeflow.org": "0"}}})
    target = ("patch", "quota", "shipway", "-n", installed.namespace, "--type=merge", "-p")
    installed.kubectl(*target, patch)
    executor = installed.executor(installed.token("pipeline-runner"), tmp_path)
    try:
        with pytest.raises(UserError, match="quota of namespace"):
            wait_for(lambda: executor.ensure(job(kind_named("TFJob"), fresh())) is None, "the quota is known")
    finally:
        installed.kubectl(*target, patch.replace('"0"', '"500"'))


# -- KFP's own objects -------------------------------------------------------------------------------------------------


def test_the_patches_of_kfps_objects_do_what_they_say(kubectl: Kubectl, namespace: str) -> None:
    """On objects as KFP ships them, with the very commands that the files name."""
    controller = workloads.fake_deployment("workflow-controller", 0)
    container = controller["spec"]["template"]["spec"]["containers"][0]
    container |= {"name": "workflow-controller", "env": [{"name": "LEADER_ELECTION_IDENTITY", "value": "x"}]}
    kept = {"ttlStrategy": {f"secondsAfter{end}": 3600 for end in ("Completion", "Success", "Failure")}}
    retries = {"templateDefaults": {"retryStrategy": {"limit": "2", "retryPolicy": "OnError"}}}
    defaults = yaml.safe_dump({"spec": kept | retries})
    config = {"apiVersion": "v1", "kind": "ConfigMap"}
    for each in (
        controller,
        {**config, "metadata": {"name": "workflow-controller-configmap"},
         "data": {"workflowDefaults": defaults, "executor": "x"}},
        {**config, "metadata": {"name": "kfp-launcher"}, "data": {"defaultPipelineRoot": ""}},
    ):  # fmt: skip
        each["metadata"]["namespace"] = namespace
        kubectl.apply(document=each)
    for path in sorted((overlays.MANIFESTS / "kfp").glob("*.yaml")):
        (command,) = (line for line in path.read_text().splitlines() if line.startswith("#   kubectl "))
        words = command.removeprefix("#   kubectl ").replace("-n kubeflow", f"-n {namespace}").split()
        words[words.index("--patch-file") + 1] = str(overlays.MANIFESTS.parent / words[words.index("--patch-file") + 1])
        kubectl(*words)
    env = kubectl.get("deployment", "workflow-controller", "-n", namespace)["spec"]["template"]["spec"]["containers"][
        0
    ]["env"]
    assert {"name": "DEFAULT_REQUEUE_TIME", "value": "1s"} in env
    assert len(env) == 2
    data = kubectl.get("configmap", "workflow-controller-configmap", "-n", namespace)["data"]
    assert (data["executor"], yaml.safe_load(data["workflowDefaults"])) == ("x", {"spec": kept})
    launcher = kubectl.get("configmap", "kfp-launcher", "-n", namespace)["data"]
    assert yaml.safe_load(launcher["providers"])["s3"]["default"]["credentials"]["secretRef"] == {
        "secretName": "shipway-store", "accessKeyKey": "AWS_ACCESS_KEY_ID", "secretKeyKey": "AWS_SECRET_ACCESS_KEY",
    }  # fmt: skip


def test_the_namespace_refuses_pods_that_reach_into_the_node(installed: Installed) -> None:
    pod = workloads.pod("reaches", "pass")
    pod["metadata"]["namespace"] = installed.namespace
    assert installed.kubectl.succeeds("create", "--dry-run=server", "-f", "-", document=pod)
    pod["spec"]["hostNetwork"] = True
    assert not installed.kubectl.succeeds("create", "--dry-run=server", "-f", "-", document=pod)


# -- what the bed cannot enforce selects what it should ----------------------------------------------------------------


def test_policies_and_monitors_select_the_pods_and_services_that_operators_make(
    installed: Installed, cluster: Bed, tmp_path: Path
) -> None:
    """The bed enforces no NetworkPolicy and has no Prometheus; labels are what can be wrong."""
    context = Context(tmp_path, installed.store_uri, "run", "kubernetes", installed.namespace)
    executor = KubernetesExecutor(context, Api())
    cluster.use_mpi("v1")
    job = executor.ensure(workloads.mpijob(fresh(), "v1"))
    service = executor.ensure(workloads.inference_service(fresh()))
    others = workloads.inference_service(fresh())  # a team's own, made by hand
    others["metadata"]["namespace"] = installed.namespace
    others["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    installed.kubectl.apply(document=others)
    by_hand = Handle("InferenceService", others["metadata"]["name"], installed.namespace, "")
    pods = f"/api/v1/namespaces/{installed.namespace}/pods"
    wait_for(lambda: executor.api.get(pods, labelSelector=f"{POD_LABEL}={by_hand.name}")["items"], "it has a pod")
    assert executor.follow(service, deadline_s=120).state == "Ready"
    assert executor.follow(job, deadline_s=120).state == "Succeeded"
    policies = {each["metadata"]["name"]: each for each in installed.objects if each["kind"] == "NetworkPolicy"}

    def selected(policy: str) -> list[str]:
        chosen = _as_query(policies[policy]["spec"]["podSelector"])
        return sorted(installed.kubectl("get", "pods", "-n", installed.namespace, "-l", chosen, "-o", "name").split())

    assert selected("shipway-mpi-launcher") == [f"pod/{job.name}-launcher"]
    assert f"pod/{job.name}-launcher" in selected("shipway-training")
    assert f"pod/{job.name}-launcher" in selected("shipway-storage")
    text = (overlays.MANIFESTS / "components/clients/network-policy.yaml").read_text(encoding="utf-8")
    policies["shipway-clients"] = yaml.safe_load(text)
    for policy in ("shipway-predictors", "shipway-clients"):
        assert [name.startswith(f"pod/{service.name}-predictor-") for name in selected(policy)] == [True]
        assert set(selected(policy)) <= set(selected("shipway-storage")), "a predictor reads its model"
    installed.kubectl("delete", "inferenceservice", by_hand.name, "-n", installed.namespace, "--wait=false")
    text = (overlays.MANIFESTS / "components/monitoring/service-monitor.yaml").read_text(encoding="utf-8")
    monitor = yaml.safe_load(text)["spec"]
    chosen = _as_query(monitor["selector"])
    services = installed.kubectl("get", "services", "-n", installed.namespace, "-l", chosen, "-o", "name").split()
    assert services == [f"service/{service.name}-predictor"]
    executor.cancel(service)


def _as_query(selector: dict[str, Any]) -> str:
    """A label selector as kubectl takes it; of expressions only Exists is used."""
    assert all(each["operator"] == "Exists" for each in selector.get("matchExpressions", []))
    pairs = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    return ",".join([*pairs, *(each["key"] for each in selector.get("matchExpressions", []))])
