"""`shipway doctor --cluster`: all well where the overlay is installed; each broken piece named with what mends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway.doctor import Finding, operators
from shipway.doctor.cluster import examine
from shipway.executors.kubernetes import mpi
from tests.cluster import overlays
from tests.cluster.bed import Bed, images, settings
from tests.cluster.bed.build import places
from tests.cluster.bed.kubectl import Kubectl
from tests.cluster.installed import Installed
from tests.fixtures.manifests import wait_for

pytestmark = pytest.mark.usefixtures("surroundings")
Look = Callable[..., dict[str, Finding]]
# A Kubeflow that the bed holds besides gives its ConfigMap to profiles, and to no namespace of these tests.
LAUNCHERS = "KFP: kfp-launcher"
# What an admin adds once for the cluster, and keys with fewer rights: told, and no fault of the overlay.
MORE = ("admission policies", "keys of replicas", "keys of predictors")
APART = (LAUNCHERS, *MORE)


@pytest.fixture
def look(installed: Installed) -> Look:
    """Examines the namespace; findings by what they are about."""

    def examined(**options: Any) -> dict[str, Finding]:
        given = {"namespace": installed.namespace, "image": images.PYTHON} | options
        return {finding.what: finding for finding in examine(**given)}

    return examined


@pytest.fixture
def apply(installed: Installed, cluster: Bed, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """kubectl in the namespace; what it breaks is whole again after the test."""
    yield lambda *words, **given: installed.kubectl("-n", installed.namespace, *words, **given)
    installed.kubectl("delete", "quota", "none", "-n", installed.namespace, "--ignore-not-found")
    keys = overlays.stored(cluster.store_environment, installed.store_uri)
    overlays.install(installed.kubectl, tmp_path / "again", "dev", installed.namespace, keys)


def run(*words: str, **environment: str) -> tuple[int, str, str]:
    """The command in a process of its own: exit code, output, errors."""
    command = [sys.executable, "-m", "shipway", "doctor", *words]
    surroundings = {**os.environ, **environment}
    result = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


def bad(found: dict[str, Finding]) -> dict[str, Finding]:
    return {what: each for what, each in found.items() if each.state in ("missing", "warn") and what not in APART}


def test_all_is_well_where_the_overlay_is_installed(installed: Installed) -> None:
    code, out, err = run("--cluster", "-n", installed.namespace, "--image", images.PYTHON, "--json")
    document = json.loads(out)
    states = {each["what"]: each["state"] for each in document["findings"] if each["what"] not in APART}
    assert (code, err, document["ok"]) == (0, "", True), out
    assert set(states.values()) <= {"ok", "info"}, out
    assert {each["what"] for each in document["findings"] if each["state"] == "warn"} - {LAUNCHERS} == set(MORE)
    assert {what for what, state in states.items() if state == "ok"} >= {
        "cluster", "namespace", "tfjobs", "mpijobs", "inferenceservices", "training-operator",
        "kserve-controller-manager", "KServe's mode", "steps' account", "accounts", "permissions",
        "pipeline train_and_deploy", "Secret shipway-store", "TFJob by dry run", "InferenceService by dry run", "image",
        "tokens", "network policies", "rights of pipeline-runner", "rights of shipway-replica",
        "rights of shipway-predictor", "rights of shipway-reaper",
    }  # fmt: skip
    assert states["storage from a pod"] == states["storage from a step"] == "info", "this image has no shipway"
    left = installed.kubectl("get", "pods,tfjobs,inferenceservices", "-n", installed.namespace, "-o", "name")
    assert "shipway-doctor" not in left


def test_a_person_reads_a_table_and_the_commands_below_it(installed: Installed) -> None:
    code, out, _ = run("--cluster", "-n", installed.namespace, "--image", images.PYTHON, "--gpu", "1000")
    assert code == 1
    assert out.rstrip().endswith("Missing: GPUs, TFJob by dry run.") or out.rstrip().endswith("Missing: GPUs.")
    assert "  kubectl get nodes -o custom-columns=" in out


def test_a_step_itself_sees_less_and_nothing_that_is_missing(
    installed: Installed, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(_with(tmp_path, token=installed.token("pipeline-runner"))))
    found = look()
    assert bad(found) == {}
    assert found["permissions"].state == "ok"
    assert "not visible to system:serviceaccount" in found["storage Secret"].found
    assert "may not create pods" in found["storage from a pod"].found


# -- a step ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_ours(installed: Installed, shipped: Callable[..., None]) -> Look:
    """Examines with our own image, as the compiled pipeline names it."""
    shipped("launcher")
    return lambda: {finding.what: finding for finding in examine(namespace=installed.namespace)}


def test_a_step_of_the_compiled_pipeline_makes_the_whole_round_trip(with_ours: Look) -> None:
    found = with_ours()
    well = ("ok", "written, read, listed and deleted")
    assert [(found[what].state, found[what].found) for what in ("storage from a pod", "storage from a step")] == [
        well
    ] * 2


def test_a_step_whose_account_may_not_read_its_own_pod_is_found(with_ours: Look, apply: Callable[..., str]) -> None:
    apply("delete", "rolebinding", "shipway-launcher")
    found: Finding = wait_for(lambda: bad(with_ours()).get("storage from a step"), "the cluster forgets the binding")
    assert found.found.startswith("read its own pod: UserError")
    assert "kubectl kustomize" in found.mend


# -- broken pieces -----------------------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[tuple[str, ...], str, str]] = {
    "no Secret": (("delete", "secret", "shipway-store"), "Secret shipway-store", "create secret generic shipway-store"),
    "a key missing": (
        ("patch", "secret", "shipway-store", "--type=json", "-p", '[{"op":"remove","path":"/data/AWS_REGION"}]'),
        "Secret shipway-store", '{"stringData": {"AWS_REGION": "us-east-1"}}',
    ),
    "KServe told otherwise": (
        ("annotate", "--overwrite", "secret", "shipway-store", "serving.kserve.io/s3-endpoint=other:1"),
        "Secret shipway-store", '"serving.kserve.io/s3-endpoint": "10.250.0.1:',
    ),
    "no RoleBinding": (("delete", "rolebinding", "shipway-launcher"), "permissions", "kubectl kustomize"),
    "a verb less": (
        ("patch", "role", "shipway-launcher", "--type=json", "-p",
         '[{"op":"replace","path":"/rules/1/verbs","value":["create","get","delete"]}]'),
        "permissions", "kubectl kustomize",
    ),
    "no account for steps": (
        ("delete", "serviceaccount", "pipeline-runner"), "steps' account", "create serviceaccount pipeline-runner"
    ),
    "no account of ours": (("delete", "serviceaccount", "shipway-reaper"), "accounts", "kubectl kustomize"),
    "no reaper": (("delete", "cronjob", "shipway-reaper"), "reaper", "kubectl kustomize"),
    "quota of jobs full": (
        ("patch", "quota", "shipway", "--type=merge", "-p", '{"spec":{"hard":{"count/tfjobs.kubeflow.org":"0"}}}'),
        "TFJob by dry run", "kubectl describe quota",
    ),
    "quota of pods full": (
        ("create", "quota", "none", "--hard=pods=0"), "storage from a pod", "kubectl describe quota"
    ),
    "storage elsewhere": (
        ("patch", "secret", "shipway-store", "--type=merge", "-p",
         '{"stringData":{"AWS_ENDPOINT_URL":"http://10.250.0.1:9"}}'),
        "storage from a pod", "edit secret shipway-store",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_named_with_the_command_that_mends_it(
    case: str, look: Look, apply: Callable[..., str]
) -> None:
    words, what, mend = BROKEN[case]
    apply(*words)
    # A quota, and a Role, are known a moment after they were written.
    found: Finding = wait_for(lambda: bad(look()).get(what), f"it is noticed: {what}")
    assert mend in found.mend
    assert "\n" not in found.found + found.mend


def test_the_command_that_mends_a_secret_mends_it(look: Look, apply: Callable[..., str], installed: Installed) -> None:
    words, what, _ = BROKEN["a key missing"]
    apply(*words)
    import shlex

    command = shlex.split(look()[what].mend)
    assert command[0] == "kubectl"
    installed.kubectl(*command[1:])
    assert look()[what].state == "ok"


def test_the_command_that_installs_leaves_a_working_secret_and_quotas_alone(
    look: Look, apply: Callable[..., str], installed: Installed, cluster: Bed, tmp_path: Path
) -> None:
    """As printed, run by a shell in a checkout; twice, for whoever steps run as."""
    kept = ("get", "secret/shipway-store", "resourcequota/shipway", "networkpolicy/shipway-storage",
            "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion} {end}")  # fmt: skip
    before = apply(*kept)
    apply("delete", "rolebinding/shipway-launcher", "cronjob/shipway-reaper", "serviceaccount/shipway-replica")
    found = wait_for(lambda: "permissions" in (seen := bad(look())) and seen, "the cluster forgets the binding")
    (command,) = {found[what].mend for what in ("permissions", "reaper", "accounts")}
    assert "overlays/dev" not in command
    path = f"{places().binaries}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)}
    subprocess.run(command, shell=True, check=True, env=environment, cwd=overlays.MANIFESTS.parent)
    wait_for(lambda: bad(look()) == {}, "all is well again")
    assert apply(*kept) == before


def test_a_reaper_that_no_longer_works_is_told(look: Look, apply: Callable[..., str]) -> None:
    patch = ("patch", "cronjob", "shipway-reaper", "--type=merge", "-p")
    apply(*patch, '{"spec":{"suspend":false,"schedule":"0 0 30 2 *"}}')
    assert look()["reaper"].state == "ok"

    def noticed() -> Finding | None:
        # Each time anew: a pod that the test before let the CronJob start may still succeed.
        apply(*patch, '{"status":{"lastSuccessfulTime":"2026-01-01T00:00:00Z"}}', "--subresource=status")
        return bad(look()).get("reaper")

    found: Finding = wait_for(noticed, "it is told")
    assert "last success 2026-01-01T00:00:00Z" in found.found
    assert "describe pods -l app.kubernetes.io/name=shipway-reaper" in found.mend


def test_the_missing_verb_is_named(look: Look, apply: Callable[..., str]) -> None:
    apply(*BROKEN["a verb less"][0])
    found: Finding = wait_for(lambda: bad(look()).get("permissions"), "it is noticed")
    assert found.found.endswith(":pipeline-runner may not: update inferenceservices.serving.kserve.io")


def test_an_image_that_is_not_there(look: Look) -> None:
    found = look(image="registry.invalid/nothing:1")
    assert found["image"].state == "missing"
    assert "registry.invalid/nothing:1" in found["image"].found
    assert found["storage from a pod"].found.startswith("not tried")


def test_a_gpu_that_no_node_has(look: Look) -> None:
    found = look(gpus=1000)["GPUs"]
    assert (found.state, "the largest of" in found.found) == ("missing", True)


def test_a_namespace_that_is_not_there_is_said_before_anything_starts(look: Look) -> None:
    found = look(namespace="no-such-team")
    assert list(found) == ["cluster", "namespace"]
    assert found["namespace"].mend == "kubectl create namespace no-such-team"


def test_a_namespace_that_refuses_launchers_of_mpijobs_v1(
    look: Look, apply: Callable[..., str], installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = "pod-security.kubernetes.io/enforce"
    installed.kubectl("label", "--overwrite", "namespace", installed.namespace, f"{label}=restricted")
    found = look()["namespace"]
    assert ("the launcher of an MPIJob kubeflow.org/v1 is refused" in found.found, found.state) == (True, "warn")
    assert f"{label}=baseline" in found.mend
    monkeypatch.setattr(mpi, "served", lambda _: [mpi.V2])  # the bed serves v1 here; the other operator's are admitted
    assert look()["namespace"].state == "ok"


# -- kinds and webhooks ------------------------------------------------------------------------------------------------


def test_a_kind_that_is_not_there(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = operators._Wanted("sailjobs", "kubeflow.org", ("v1",), "missing", "trainings", operators.TRAINING)
    monkeypatch.setattr(operators, "WANTED", (wanted, *operators.WANTED))
    found = look()["sailjobs"]
    assert (found.state, found.found) == ("missing", "no sailjobs.kubeflow.org here (for trainings)")
    assert found.mend == operators.TRAINING


def test_a_kind_of_another_version(look: Look, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    group = "doctor.shipway.dev"
    names = {"plural": "sailjobs", "singular": "sailjob", "kind": "SailJob", "listKind": "SailJobList"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema}
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
           "metadata": {"name": f"sailjobs.{group}"},
           "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]}}  # fmt: skip
    wanted = operators._Wanted("sailjobs", group, ("v1",), "missing", "trainings", operators.TRAINING)
    monkeypatch.setattr(operators, "WANTED", (wanted,))
    kubectl.apply(document=crd)
    try:
        text = f"served as {group}/v1alpha1, needs v1 (for trainings)"
        wait_for(lambda: look()["sailjobs"].found == text, "it is served")
    finally:
        kubectl("delete", "crd", f"sailjobs.{group}")


@contextmanager
def only_here(kubectl: Kubectl, *documents: dict[str, Any]) -> Iterator[None]:
    """Cluster-wide objects that concern one namespace, for a while."""
    for document in documents:
        kubectl.apply(document=document)
    try:
        yield
    finally:
        for document in documents:
            kubectl("delete", document["kind"], document["metadata"]["name"])


def test_a_webhook_that_does_not_answer(look: Look, installed: Installed) -> None:
    name = f"{installed.namespace}.shipway.dev"
    rule = {"apiGroups": ["kubeflow.org"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["tfjobs"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": installed.namespace}}
    hook = {"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "rules": [rule], "namespaceSelector": here, "timeoutSeconds": 2,
            "clientConfig": {"service": {"name": "nobody", "namespace": installed.namespace}}}  # fmt: skip
    document = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": name}, "webhooks": [hook]}  # fmt: skip
    with only_here(installed.kubectl, document):
        found = wait_for(lambda: bad(look()).get("TFJob by dry run"), "the webhook is asked")
    assert "failed calling webhook" in found.found
    assert "kubectl get validatingwebhookconfigurations" in found.mend


def test_a_policy_that_refuses(look: Look, installed: Installed) -> None:
    name = f"{installed.namespace}.shipway.dev"
    rule = {"apiGroups": ["kubeflow.org"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["tfjobs"]}
    refusal = {"expression": "false", "message": "trainings want an owner"}
    kind = {"apiVersion": "admissionregistration.k8s.io/v1"}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": installed.namespace}}}
    policy = {**kind, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
              "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [refusal]}}  # fmt: skip
    binding = {**kind, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
               "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here}}  # fmt: skip
    with only_here(installed.kubectl, policy, binding):
        found = wait_for(lambda: bad(look()).get("TFJob by dry run"), "the policy is known")
    assert "trainings want an owner" in found.found


# -- KFP's settings ----------------------------------------------------------------------------------------------------


def test_kfps_settings_are_judged_and_mended_by_the_commands_given(
    look: Look, apply: Callable[..., str], installed: Installed
) -> None:
    """Objects as KFP ships them, in the test's own namespace: no other's settings are touched."""
    import shlex

    from tests.cluster.workloads import fake_deployment

    controller = fake_deployment("workflow-controller", 0)
    controller["spec"]["template"]["spec"]["containers"][0]["name"] = "workflow-controller"
    retries = {"templateDefaults": {"retryStrategy": {"limit": "2"}}, "ttlStrategy": {"secondsAfterCompletion": 60}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workflow-controller-configmap"},
              "data": {"workflowDefaults": yaml.safe_dump({"spec": retries})}}  # fmt: skip
    apply("apply", "-f", "-", document=controller)
    apply("apply", "-f", "-", document=config)
    try:
        seen = look()
        found = {what: seen[what] for what in ("KFP: requeue time", "KFP: retries", LAUNCHERS)}
        assert all(finding.state in ("missing", "warn") for finding in found.values()), found
        for finding in found.values():
            for command in finding.mend.split(" && "):
                installed.kubectl(*shlex.split(command)[1:])
        mended = look()
        assert (bad(mended), mended[LAUNCHERS].state) == ({}, "ok")
        kept = json.loads(apply("get", "configmap", "workflow-controller-configmap", "-o", "json"))["data"]
        assert yaml.safe_load(kept["workflowDefaults"]) == {"spec": {"ttlStrategy": {"secondsAfterCompletion": 60}}}
    finally:
        apply("delete", "deployment/workflow-controller", "configmap/workflow-controller-configmap")


# -- no cluster --------------------------------------------------------------------------------------------------------


def _with(folder: Path, *, token: str = "", context: str = "", server: str = "") -> Path:
    document = yaml.safe_load(settings.kubeconfig().read_text())
    if token:
        document["users"][0]["user"] = {"token": token}
    if context:
        document["current-context"] = context
    if server:
        document["clusters"][0]["cluster"]["server"] = server
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(("given", "said"), [
    ({"context": "no-such"}, "no-such"),
    ({"token": "expired"}, "refuses the credentials (401)"),
    ({"server": "https://127.0.0.1:9"}, "nobody answered for 4 s"),
    (None, "set KUBECONFIG to a kubeconfig file"),
])  # fmt: skip
def test_a_cluster_that_cannot_be_asked_is_one_line(given: dict[str, str] | None, said: str, tmp_path: Path) -> None:
    path = _with(tmp_path, **given) if given else tmp_path / "none"
    code, out, err = run("--cluster", "--json", KUBECONFIG=str(path))
    (finding,) = json.loads(out)["findings"]
    assert (code, err, finding["state"]) == (1, "", "missing")
    assert said in finding["found"]
    assert "\n" not in finding["found"]


def test_options_about_a_cluster_want_one() -> None:
    code, _, err = run("--gpu", "2")
    assert (code, err) == (2, "error: doctor --gpu: is about a cluster; add --cluster\n")


def test_an_account_that_gets_round_the_policies_is_told_with_the_command_that_shows_how(
    look: Look, installed: Installed
) -> None:
    place = ("-n", installed.namespace)
    installed.kubectl("create", "role", "more", "--verb=get", "--resource=secrets", *place)
    try:
        for name in ("pipeline-runner", "shipway-replica"):
            account = f"--serviceaccount={installed.namespace}:{name}"
            installed.kubectl("create", "rolebinding", f"more-{name}", "--role=more", account, *place)
        found = look()
        for name in ("pipeline-runner", "shipway-replica"):
            finding = found[f"rights of {name}"]
            assert finding.state == "warn"
            assert "may also get secrets" in finding.found
            assert f"--as=system:serviceaccount:{installed.namespace}:{name}" in finding.mend
        assert found["rights of shipway-reaper"].state == "ok"
    finally:
        installed.kubectl(
            "delete", "role/more", "rolebinding/more-pipeline-runner", "rolebinding/more-shipway-replica", *place
        )
