"""What manifests/admission refuses to the accounts of steps and of the reaper, and that all we render passes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway import labels
from shipway.components.deploy.core import inference_service
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.sweep import experiment
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.core import render
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec, UserError
from shipway.executors import Manifest
from shipway.executors.kubernetes import KubernetesExecutor, mpi, reaper, services
from shipway.executors.kubernetes.api import Api, ApiError, explain
from shipway.executors.kubernetes.kinds import kind_named, kind_of
from shipway.executors.kubernetes.peers import policy
from shipway.executors.kubernetes.rendering import JOB, PEERS, rendered
from shipway.specs import parse
from shipway.storage import Store
from tests.cluster import faults, overlays
from tests.cluster.bed.kubectl import Kubectl
from tests.cluster.installed import REAPER, Installed, fresh, job
from tests.fixtures.manifests import wait_for

pytestmark = pytest.mark.usefixtures("surroundings")


@pytest.fixture(scope="module")
def held(installed: Installed, kubectl: Kubectl) -> Iterator[Installed]:
    """The overlay's namespace, held to the policies; they bear names of their own and look nowhere else."""
    mark, names = uuid.uuid4().hex[:6], []
    kubectl("label", "namespace", installed.namespace, f"shipway.dev/admission={mark}")
    for each in overlays.built(kubectl, overlays.MANIFESTS / "admission"):
        each["metadata"]["name"] += f"-{mark}"
        if each["kind"] == "ValidatingAdmissionPolicyBinding":
            each["spec"]["policyName"] += f"-{mark}"
            selected = each["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
            assert selected == {"shipway.dev/admission": "enforce"}
            selected["shipway.dev/admission"] = mark
        kubectl.apply(document=each)
        names.append((each["kind"], each["metadata"]["name"]))
    try:
        _await_force(installed)
        yield installed
    finally:
        for kind, name in reversed(names):
            kubectl("delete", kind, name, "--wait=false")


def _await_force(installed: Installed) -> None:
    """The API server learns of policies after a moment."""
    steps, reapers = (
        f"--as=system:serviceaccount:{installed.namespace}:{name}" for name in ("pipeline-runner", REAPER)
    )
    place = ("-n", installed.namespace, "--dry-run=server")
    for made in (job(kind_named("TFJob"), fresh()), _opening()):
        made["metadata"]["namespace"] = installed.namespace
        wait_for(
            lambda made=made: not installed.kubectl.succeeds("create", steps, *place, "-f", "-", document=made),  # type: ignore[misc]
            f"{made['kind']} is looked at",
        )
    strangers = _strangers(installed)
    wait_for(lambda: not installed.kubectl.succeeds("delete", "tfjob", strangers, reapers, *place), "deletions too")


def _path(kind: str, namespace: str) -> str:
    if kind == "NetworkPolicy":
        return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    return kind_named(kind).path(namespace)


def _opening() -> Manifest:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": fresh()},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}}  # fmt: skip


def _strangers(installed: Installed, **metadata: Any) -> str:
    """A TFJob that somebody made by hand; it is suspended."""
    made = job(kind_named("TFJob"), fresh())
    made["metadata"] |= {"namespace": installed.namespace, **metadata}
    installed.kubectl.apply(document=made)
    return str(made["metadata"]["name"])


# -- what steps launch passes ------------------------------------------------------------------------------------------

TRAININGS: list[dict[str, Any]] = [
    {},
    {"strategy": "multi_worker", "workers": 3, "resources": {"gpu": 1}, "node_selector": {"pool": "gpu"}},
    {"strategy": "horovod", "workers": 2, "priority": "high", "queue": "team"},
    {"image": "registry.example.com/own:1", "pod_security": "unset"},
]


def training(**given: Any) -> Manifest:
    spec = parse(TrainingSpec, {"name": "bot", **given}, "training")
    return render(spec, fresh(), "s3://shipway/d", store_uri="s3://shipway")


def trials(**given: Any) -> Manifest:
    document = {
        "objective": {"type": "maximize", "objectiveMetricName": "accuracy"}, "algorithm": {"algorithmName": "random"},
        "parameters": {"learning_rate": "loguniform(0.001, 0.1)"}, "maxTrialCount": 2, "parallelTrialCount": 1,
        "training": {"name": "bot", **given},
    }  # fmt: skip
    spec = parse(SweepSpec, document, "sweep")
    return experiment.render(spec, fresh(), experiment.trial_template(spec, "s3://shipway/d", "s3://shipway"))


def endpoint(namespace: str, **given: Any) -> Manifest:
    spec, name = EndpointSpec(name="bot", **given), fresh()
    return inference_service(
        spec, endpoint=name, version=1, model_uri="s3://shipway/m", model_digest="", variant_digest="", recipe="",
        answers={}, store_uri="s3://shipway", run="r", namespace=namespace,
    )  # fmt: skip


def as_launched(held: Installed, executor: KubernetesExecutor, manifest: Manifest) -> Manifest:
    """The object that the executor would create."""
    if manifest["kind"] == "InferenceService":
        return services.rendered(manifest, executor.context)
    served = mpi.as_served(executor.api, manifest)
    return rendered(served, kind_of(served), executor.context, 0, None, "")


@pytest.fixture
def step(held: Installed, tmp_path: Path) -> KubernetesExecutor:
    """The executor with the account of a step."""
    return held.executor(held.token("pipeline-runner"), tmp_path)


@pytest.mark.parametrize("given", TRAININGS, ids=str)
def test_every_training_that_we_render_passes(held: Installed, step: KubernetesExecutor, given: dict[str, Any]) -> None:
    step.check(training(**given))


@pytest.mark.parametrize("given", [{}, {"replicas": 3, "pod_security": "unset", "image": "own:1"}], ids=str)
def test_every_endpoint_that_we_render_passes(held: Installed, step: KubernetesExecutor, given: dict[str, Any]) -> None:
    made = services.rendered(endpoint(held.namespace, **given), step.context)
    step.api.post(kind_named("InferenceService").path(held.namespace), made, dryRun="All")


def test_a_job_of_several_pods_gets_a_policy_that_goes_with_it(held: Installed, step: KubernetesExecutor) -> None:
    manifest = training(strategy="multi_worker", workers=2)
    manifest["spec"]["runPolicy"]["suspend"] = True
    handle = step.ensure(manifest)
    found = held.kubectl.get("networkpolicy", "-l", f"{labels.MANAGED_BY}=shipway", "-n", held.namespace)["items"]
    (fence,) = [each for each in found if each["spec"]["podSelector"]["matchLabels"] == {PEERS: handle.name}]
    assert fence["metadata"]["ownerReferences"][0]["name"] == handle.name
    held.kubectl("delete", "networkpolicy", fence["metadata"]["name"], "-n", held.namespace)
    assert step.ensure(manifest).adopted, "a step that was killed before it made one makes it when it comes back"
    held.kubectl.get("networkpolicy", fence["metadata"]["name"], "-n", held.namespace)
    step.cancel(handle)
    wait_for(
        lambda: not held.kubectl.succeeds("get", "networkpolicy", fence["metadata"]["name"], "-n", held.namespace),
        "it goes with its job",
    )


# -- and nothing else --------------------------------------------------------------------------------------------------

POD: dict[str, tuple[dict[str, Any], str]] = {
    "another's Secret as a volume": (
        {"volumes": [{"name": "v", "secret": {"secretName": "theirs"}}]}, "the Secrets shipway-store"),
    "another's Secret in a projected volume": (
        {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "theirs"}}]}}]}, "mounts emptyDir"),
    "a token in a projected volume": (
        {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
        "mounts emptyDir"),
    "the node's disk": ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "mounts emptyDir"),
    "a claim": ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}, "mounts emptyDir"),
    "a driver's volume": ({"volumes": [{"name": "v", "csi": {"driver": "secrets-store"}}]}, "mounts emptyDir"),
    "another account": ({"serviceAccountName": "pipeline-runner"}, "runs as shipway-replica, shipway-predictor"),
    "another account by its old name": (
        {"serviceAccount": "pipeline-runner"}, "runs as shipway-replica, shipway-predictor"),
    "no account": ({"serviceAccountName": None}, "runs as shipway-replica, shipway-predictor"),
    "a token": ({"automountServiceAccountToken": True}, "holds no token"),
    "no word of a token": ({"automountServiceAccountToken": None}, "holds no token"),
    "another's pull secret": ({"imagePullSecrets": [{"name": "theirs"}]}, "reads the Secrets"),
    "the node's network": ({"hostNetwork": True}, "stays off its node"),
    "the node's processes": ({"hostPID": True}, "stays off its node"),
    "a node by name": ({"nodeName": "bed"}, "stays off its node"),
}  # fmt: skip
CONTAINER: dict[str, tuple[dict[str, Any], str]] = {
    "another's Secret as variables": ({"envFrom": [{"secretRef": {"name": "theirs"}}]}, "reads the Secrets"),
    "a ConfigMap as variables": ({"envFrom": [{"configMapRef": {"name": "c"}}]}, "no ConfigMap"),
    "a key of another's Secret": (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "k"}}}]}, "reads the Secrets"),
    "privileged": ({"securityContext": {"privileged": True}}, "not privileged"),
    "a capability": ({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "not privileged"),
    "a port of the node": ({"ports": [{"containerPort": 80, "hostPort": 80}]}, "not privileged"),
}  # fmt: skip
# The kind Experiment comes and goes for the whole cluster.
KINDS = ["TFJob", "MPIJob", "InferenceService", pytest.param("Experiment", marks=pytest.mark.alone)]


def made_of(kind: str, namespace: str) -> Manifest:
    return {
        "TFJob": lambda: training(strategy="multi_worker", workers=2),
        "MPIJob": lambda: training(strategy="horovod", workers=2),
        "Experiment": trials,
        "InferenceService": lambda: endpoint(namespace),
    }[kind]()


def pod_of(made: Manifest) -> dict[str, Any]:
    """The last of its pods: a worker's."""
    spec = made["spec"]
    if "predictor" in spec:
        return dict.__getitem__(spec, "predictor")  # type: ignore[no-any-return]
    spec = spec["trialTemplate"]["trialSpec"]["spec"] if "trialTemplate" in spec else spec
    replicas = spec.get("tfReplicaSpecs") or spec["mpiReplicaSpecs"]
    found: dict[str, Any] = list(replicas.values())[-1]["template"]["spec"]
    return found


def refusal(held: Installed, step: KubernetesExecutor, made: Manifest) -> str:
    """One line, as a person reads it."""
    kind = kind_of(made)
    with pytest.raises(ApiError) as refused:
        step.api.post(kind.path(held.namespace), made, dryRun="All")
    told = explain(refused.value, f"{kind.name} {made['metadata']['name']}", held.namespace)
    assert isinstance(told, InvalidSpec)
    assert "the cluster's policy shipway-launched" in str(told)
    assert "\n" not in str(told)
    return str(told)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", [*POD, *CONTAINER])
def test_a_step_cannot_reach_past_what_the_overlay_names(
    held: Installed, step: KubernetesExecutor, request: pytest.FixtureRequest, kind: str, what: str
) -> None:
    if kind == "Experiment":
        request.getfixturevalue("experiments")
    made = as_launched(held, step, made_of(kind, held.namespace))
    pod = pod_of(made)
    changes, said = POD.get(what) or CONTAINER[what]
    where = pod if what in POD else pod["containers"][0]
    for field, value in changes.items():
        if value is None:
            where.pop(field, None)
        else:
            where[field] = value
    assert said in refusal(held, step, made)


def test_what_is_refused_to_a_container_is_refused_to_one_that_runs_before_it(
    held: Installed, step: KubernetesExecutor
) -> None:
    made = as_launched(held, step, training())
    pod = pod_of(made)
    pod["initContainers"] = [{"name": "first", "image": "i", "envFrom": [{"secretRef": {"name": "theirs"}}]}]
    assert "reads the Secrets" in refusal(held, step, made)


def test_replicas_keep_the_labels_by_which_policies_know_them(held: Installed, step: KubernetesExecutor) -> None:
    for key, value in ((PEERS, "another-job"), (labels.MANAGED_BY, "me"), (PEERS, None)):
        made = as_launched(held, step, training())
        given = made["spec"]["tfReplicaSpecs"]["Chief"]["template"]["metadata"]["labels"]
        given.pop(key) if value is None else given.update({key: value})
        assert "is labelled" in refusal(held, step, made)


def test_an_endpoint_brings_nothing_but_containers(held: Installed, step: KubernetesExecutor) -> None:
    made = as_launched(held, step, endpoint(held.namespace))
    made["spec"]["transformer"] = {"containers": [{"name": "kserve-container", "image": "i"}]}
    assert "a predictor with containers" in refusal(held, step, made)


def test_a_launcher_over_exec_names_no_account(held: Installed, step: KubernetesExecutor) -> None:
    made = as_launched(held, step, training(strategy="horovod", workers=2))
    made["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["serviceAccountName"] = "pipeline-runner"
    assert "runs as shipway-replica" in refusal(held, step, made)


def test_a_step_changes_nothing_of_others(held: Installed, step: KubernetesExecutor) -> None:
    path = kind_named("TFJob").path(held.namespace, _strangers(held))
    with pytest.raises(ApiError, match="changes nothing but what Shipway made"):
        step.api.patch(path, {"metadata": {"labels": {labels.MANAGED_BY: "shipway"}}})
    with pytest.raises(ApiError, match="deletes nothing but what it made"):
        step.api.delete(path)


def test_a_step_may_create_no_batch_job(held: Installed, step: KubernetesExecutor) -> None:
    with pytest.raises(UserError, match="not allowed in namespace"):
        step.ensure(job(kind_named("Job"), fresh()))


def test_people_are_not_held_to_it(held: Installed, step: KubernetesExecutor) -> None:
    made = as_launched(held, step, training())
    pod_of(made)["serviceAccountName"] = "default"
    Api().post(kind_named("TFJob").path(held.namespace), made, dryRun="All")


def test_a_steps_network_policy_opens_one_job_to_itself_alone(held: Installed, step: KubernetesExecutor) -> None:
    path, kind = _path("NetworkPolicy", held.namespace), kind_named("TFJob")
    good = policy(kind, {"metadata": {"name": "bot", "uid": "0" * 8}})
    step.api.post(path, good, dryRun="All")
    ours: dict[str, Any] = {"podSelector": {"matchLabels": {PEERS: "bot"}}}
    for change in (
        {"podSelector": {}},
        {"podSelector": {"matchLabels": {JOB: "bot"}}},
        {"ingress": [{"from": [{"podSelector": {}}]}]},
        {"ingress": [{}]},
        {"ingress": [{"from": [ours, {"ipBlock": {"cidr": "0.0.0.0/0"}}]}]},
        {"egress": [{"to": [{**ours, "namespaceSelector": {}}]}]},
        {"egress": [{"to": [{"podSelector": {"matchLabels": {PEERS: "another"}}}]}]},
    ):
        bad = {**good, "metadata": {**good["metadata"], "name": fresh()}, "spec": {**good["spec"], **change}}
        with pytest.raises(ApiError, match="opens nothing else"):
            step.api.post(path, bad, dryRun="All")


# -- an Experiment -----------------------------------------------------------------------------------------------------


@pytest.fixture
def experiments(schema: None, held: Installed, kubectl: Kubectl) -> None:
    """Experiments are served, and a step may create them, as KFP's own Role says; ours does not."""
    rule = {"apiGroups": ["kubeflow.org"], "resources": ["experiments"], "verbs": ["*"]}
    metadata = {"name": "experiments", "namespace": held.namespace}
    role: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata}
    subject = {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": held.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "experiments"}
    kubectl.apply(document={**role, "kind": "Role", "rules": [rule]})
    kubectl.apply(document={**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]})


@pytest.mark.alone
@pytest.mark.usefixtures("experiments")
@pytest.mark.parametrize("given", TRAININGS[:3], ids=str)
def test_every_sweep_that_we_render_passes(held: Installed, step: KubernetesExecutor, given: dict[str, Any]) -> None:
    step.check(trials(**given))


@pytest.mark.alone
@pytest.mark.usefixtures("experiments")
@pytest.mark.parametrize(("change", "said"), [
    ({"trialTemplate": {"trialSpec": {"kind": "Job", "apiVersion": "batch/v1"}}}, "is a TFJob or an MPIJob"),
    ({"trialTemplate": {"configMap": {"configMapName": "theirs"}}}, "is a TFJob or an MPIJob"),
    ({"parameters": [{"name": "p", "parameterType": "categorical",
                      "feasibleSpace": {"list": ['x", "envFrom": [{"secretRef": {"name": "theirs"}}], "y": "']}}]},
     "holds no quote"),
    ({"metricsCollectorSpec": {"collector": {"kind": "Custom", "customCollector": {"name": "c", "image": "i"}}}},
     "no container of its own"),
], ids=["another kind", "a template elsewhere", "fields in a value", "a container"])  # fmt: skip
def test_an_experiment_brings_no_pod_by_another_way(
    held: Installed, step: KubernetesExecutor, change: dict[str, Any], said: str
) -> None:
    made = as_launched(held, step, trials())
    for field, value in change.items():
        made["spec"][field] = {**made["spec"][field], **value} if field == "trialTemplate" else value
    if "configMap" in made["spec"]["trialTemplate"]:
        del made["spec"]["trialTemplate"]["trialSpec"]
    assert said in refusal(held, step, made)


# -- the reaper --------------------------------------------------------------------------------------------------------

OURS = {labels.MANAGED_BY: "shipway"}


@pytest.mark.parametrize(("given", "said"), [
    ({}, "nothing but what it made"),
    ({labels.MANAGED_BY: "me", labels.LEASE: "1"}, "nothing but what it made"),
    (OURS, "jobs with a lease alone"),
    ({**OURS, labels.LEASE: "1"}, ""),
], ids=str)  # fmt: skip
def test_the_reapers_account_ends_our_jobs_with_a_lease_alone(
    held: Installed, given: dict[str, str], said: str
) -> None:
    api = Api(lambda: faults.client_with(held.token("shipway-reaper")))
    path = kind_named("TFJob").path(held.namespace, _strangers(held, labels=given))
    if said:
        with pytest.raises(ApiError, match=said):
            api.delete(path)
    else:
        assert api.delete(path)


def test_the_reapers_account_leaves_what_has_ended(held: Installed, step: KubernetesExecutor) -> None:
    manifest = job(kind_named("TFJob"), fresh(), "pass", suspended=False)
    manifest["metadata"]["labels"] = {labels.LEASE: "1"}
    handle = step.ensure(manifest)
    assert step.follow(handle, deadline_s=120).state == "Succeeded"
    api = Api(lambda: faults.client_with(held.token("shipway-reaper")))
    with pytest.raises(ApiError, match="leaves a job that has ended"):
        api.delete(kind_named("TFJob").path(held.namespace, handle.name))


def test_a_job_that_may_not_be_ended_keeps_no_other_from_it(
    held: Installed, step: KubernetesExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a person labels by halves is refused by the policy, and said; the rest is reaped."""
    api, store = Api(lambda: faults.client_with(held.token("shipway-reaper"))), Store.open(held.store_uri)
    names = []
    for _ in range(2):
        manifest = job(kind_named("TFJob"), fresh())
        manifest["metadata"]["labels"] = {labels.LEASE: "0.1"}
        names.append(step.ensure(manifest).name)
        store.put(f"jobs/{names[-1]}/lease.json", json.dumps({"lease_s": 9999}).encode())
    first = min(names)
    held.kubectl("annotate", "tfjob", first, "kept=yes", "-n", held.namespace)
    path = kind_named("TFJob").path(held.namespace)
    wait_for(lambda: _reaped_or_refused(api, step, path, names), "both are seen to")
    assert "ended, its step has been silent" in capsys.readouterr().out


def _reaped_or_refused(api: Api, step: KubernetesExecutor, path: str, names: list[str]) -> bool:
    reaper.reap(api, step.context)
    return not any(Api().find(f"{path}/{name}") for name in names)
