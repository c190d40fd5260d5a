"""What `doctor --cluster` knows of a real Kubeflow: versions, artifacts and their keys, the UI, profiles."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from shipway.doctor import Finding, artifacts, kfp, profiles, versions
from shipway.doctor.checkup import Check, Checkup
from shipway.executors.kubernetes.api import Api
from tests.fixtures.kubernetes_api import Cluster

MANIFESTS = Path(__file__).parents[2] / "manifests"
LAUNCHER = yaml.safe_load((MANIFESTS / "kfp" / "kfp-launcher.yaml").read_text(encoding="utf-8"))["data"]
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
TEAM = "minio://mlpipeline/private-artifacts/ada/v2/artifacts"
# Of KFP 2.17's ml-pipeline-ui (manifests/kustomize/base/pipeline).
SHIPPED = [
    {"name": "MINIO_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "mlpipeline-minio-artifact"}}},
    {"name": "ARTIFACTS_SERVICE_PROXY_ENABLED",
     "valueFrom": {"configMapKeyRef": {"name": "pipeline-install-config", "key": "ARTIFACTS_PROXY_ENABLED"}}},
]  # fmt: skip


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """KFP as its own manifests install it, in `kubeflow`."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with Cluster(tmp_path, "kubeflow") as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig()))
        running.deployment("ml-pipeline", "ghcr.io/kubeflow/kfp-api-server:2.17.0")
        running.deployment("workflow-controller", "quay.io/argoproj/workflow-controller:v4.0.5")
        running.deployment("ml-pipeline-ui", "ghcr.io/kubeflow/kfp-frontend:2.17.0", env=SHIPPED)
        running.config("kfp-launcher", {"defaultPipelineRoot": ""})
        running.secret("mlpipeline-minio-artifact", {"accesskey": "minio", "secretkey": "minio123"})
        yield running


def seen(check: Check, namespace: str = "kubeflow") -> dict[str, Finding]:
    checkup = Checkup(Api(patience_s=0.5), namespace, user="ada", kfp="kubeflow")
    found: Iterable[Finding] = check(checkup)
    return {each.what.removeprefix("KFP: "): each for each in found}


# -- versions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "found"), [
    ("ghcr.io/kubeflow/kfp-api-server:2.17.0", (2, 17)),
    ("quay.io/argoproj/workflow-controller:v4.0.5", (4, 0)),
    ("kubeflow/training-operator:v1-5525468", None),  # a commit
    ("localhost:5000/kserve/kserve-controller:v0.15.0@sha256:" + "0" * 64, (0, 15)),
    ("localhost:5000/kserve/kserve-controller", None),
    ("kserve/kserve-controller:latest", None),
    ("kserve/kserve-controller:v0.20.0-rc1", (0, 20)),
])  # fmt: skip
def test_a_version_is_read_from_an_images_tag(image: str, found: tuple[int, int] | None) -> None:
    assert versions.read(image) == found


PARTS = {part.deployment: part for part in versions.PARTS}


@pytest.mark.parametrize(("deployment", "tag", "state", "says"), [
    ("ml-pipeline", "2.17.0", "ok", "2.17"),
    ("ml-pipeline", "2.18.1", "info", "2.18; 2.17 was run with Shipway"),
    ("ml-pipeline", "2.15.0", "warn", "security context"),
    ("ml-pipeline", "2.5.0", "missing", "dsl.TaskConfig is unknown"),
    ("workflow-controller", "v3.6.5", "warn", "made for Argo 3.7 and 4.0"),
    ("workflow-controller", "v3.7.14", "info", "3.7; 4.0 was run"),
    ("training-operator", "1.9.2", "info", "1.9; 1.8 was run"),
    ("kserve-controller-manager", "v0.15.0", "ok", "no spec.canary in Standard mode"),
    ("kserve-controller-manager", "v0.20.0", "info", "0.20; 0.15 was run"),
    ("katib-controller", "v0.19.0", "info", "no version of it was run"),
    ("mpi-operator", "latest", "info", "cannot be read from mpi-operator:latest"),
])  # fmt: skip
def test_what_a_version_lacks_is_told(deployment: str, tag: str, state: str, says: str) -> None:
    found = versions.judge(PARTS[deployment], f"{deployment}:{tag}")
    assert (found.state, says in found.found) == (state, True), found
    assert bool(found.mend) == (state in ("warn", "missing"))


def test_a_mirror_that_renamed_kfps_images_is_known_by_kfps_own_word(cluster: Cluster) -> None:
    cluster.deployment("ml-pipeline", "mirror/kfp@sha256:0123")
    assert seen(versions.versions)["version: Kubeflow Pipelines"].state == "info"
    cluster.config("pipeline-install-config", {"appVersion": "2.17.0"})
    assert seen(versions.versions)["version: Kubeflow Pipelines"].state == "ok"


def test_trainer_v2_alone_trains_nothing_of_ours(cluster: Cluster) -> None:
    cluster.deployment("kubeflow-trainer-controller-manager", "trainer:v2.1.0", namespace="kubeflow-system")
    found = seen(versions.versions)["training operator"]
    assert (found.state, "no TensorFlow runtime" in found.found) == ("missing", True)
    cluster.deployment("training-operator", "training-operator:1.8.1")
    assert "training operator" not in seen(versions.versions)


# -- artifacts ---------------------------------------------------------------------------------------------------------


def test_kfp_as_it_is_installed_keeps_artifacts_and_shows_reports(cluster: Cluster) -> None:
    found = seen(artifacts.artifacts)
    assert found["kfp-launcher"].found == "minio://mlpipeline/v2/artifacts, keys of Secret mlpipeline-minio-artifact"
    assert {each.state for each in found.values()} == {"ok"}


def test_the_file_for_kfp_launcher_is_well_where_its_secret_has_the_keys(cluster: Cluster) -> None:
    cluster.config("kfp-launcher", LAUNCHER)
    found = seen(artifacts.artifacts)["kfp-launcher"]
    assert (found.state, "no Secret shipway-store in kubeflow" in found.found) == ("missing", True)
    cluster.secret("shipway-store", {"AWS_ACCESS_KEY_ID": "a"})
    assert "Secret shipway-store without AWS_SECRET_ACCESS_KEY" in seen(artifacts.artifacts)["kfp-launcher"].found
    cluster.secret("shipway-store", KEYS)
    assert {each.state for each in seen(artifacts.artifacts).values()} == {"ok"}
    cluster.hidden.append("/secrets/")
    assert seen(artifacts.artifacts)["kfp-launcher"].state == "info"


SECRET = {"secretName": "own", "accessKeyKey": "k", "secretKeyKey": "s"}
OTHER = {"secretName": "other", "accessKeyKey": "k2", "secretKeyKey": "s2"}


def providers(scheme: str = "s3", **default: object) -> dict[str, str]:
    return {"defaultPipelineRoot": f"{scheme}://b/x/y", "providers": yaml.safe_dump({scheme: default})}


@pytest.mark.parametrize(("data", "secret", "keys", "wrong"), [
    ({}, "mlpipeline-minio-artifact", ("accesskey", "secretkey"), ""),
    (providers(default={"credentials": {"secretRef": SECRET}}), "own", ("k", "s"), ""),
    (providers("minio", default={"credentials": {"secretRef": SECRET}}), "own", ("k", "s"), ""),
    (providers(default={"credentials": {"fromEnv": True}}), "", (), ""),
    ({"defaultPipelineRoot": "s3://b/x"}, "", (), ""),
    ({"defaultPipelineRoot": "minio://b/x?region=r"}, "", (), ""),
    (providers(default={"credentials": {"secretRef": SECRET}},
               Overrides=[{"bucketName": "b", "keyPrefix": "x/", "credentials": {"secretRef": OTHER}}]),
     "other", ("k2", "s2"), ""),
    (providers(default={"credentials": {"secretRef": SECRET}},
               Overrides=[{"bucketName": "b", "keyPrefix": "z/", "credentials": {"secretRef": OTHER}}]),
     "own", ("k", "s"), ""),
    (providers(default={"endpoint": "e:1"}), "", (), "providers.s3.default has no credentials"),
    (providers(default={"credentials": {"secretRef": {"secretName": "own"}}}), "", (),
     "without accessKeyKey, secretKeyKey"),
    ({"defaultPipelineRoot": "/data"}, "", (), "none of minio://, s3://, gs://"),
    ({"providers": "- a"}, "", (), "not a YAML mapping"),
])  # fmt: skip
def test_the_launchers_settings_are_read_as_it_reads_them(
    data: dict[str, str], secret: str, keys: tuple[str, ...], wrong: str
) -> None:
    access = artifacts.read(data)
    assert (access.secret, access.keys) == (secret, keys)
    assert (wrong in access.wrong, bool(access.wrong)) == (True, bool(wrong))


@pytest.mark.parametrize(("data", "state", "mend"), [
    ({"defaultPipelineRoot": TEAM}, "ok", ""),  # as the profile controller writes it
    ({"defaultPipelineRoot": "s3://mlpipeline/v2/artifacts"}, "warn", "patch configmap kfp-launcher"),
    ({"defaultPipelineRoot": TEAM.replace("ada", "bob")}, "warn", "patch configmap kfp-launcher"),
    ({}, "warn", "patch configmap kfp-launcher"),
    (None, "warn", "create configmap kfp-launcher"),
])  # fmt: skip
def test_a_profiles_artifacts_stay_where_its_keys_reach(
    data: dict[str, str] | None, state: str, mend: str, cluster: Cluster
) -> None:
    cluster.secret("mlpipeline-minio-artifact", {"accesskey": "a", "secretkey": "b"}, namespace="ada")
    if data is not None:
        cluster.config("kfp-launcher", data, namespace="ada")
    found = seen(artifacts.artifacts, "ada")["kfp-launcher"]
    assert (found.state, mend in found.mend, TEAM in found.mend) == (state, True, state == "warn")
    assert all(shlex.split(command)[0] == "kubectl" for command in found.mend.split(" && ") if command)


OWN = providers(default={"endpoint": "seaweedfs.kubeflow.svc:9000", "credentials": {"secretRef": SECRET}})
AWS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.mark.parametrize(("data", "variables", "is_own", "why"), [
    ({}, {}, True, ""),
    (OWN, {}, True, ""),  # the Secret is in the UI's own namespace
    (OWN, {}, False, "asks Amazon for s3:// where it may read no Secret, not seaweedfs.kubeflow.svc:9000"),
    (OWN, {"ARTIFACTS_SERVICE_PROXY_ENABLED": "true"}, False, ""),
    ({"defaultPipelineRoot": TEAM}, {}, False, ""),
    (providers("minio", default={"endpoint": "minio.other:9000", "credentials": {"secretRef": SECRET}}), {}, False,
     "reads minio:// from seaweedfs, not from minio.other:9000"),
    ({"defaultPipelineRoot": "s3://b/x"}, {}, True, "has no keys for s3://b/x"),
    ({"defaultPipelineRoot": "s3://b/x"}, AWS, True, ""),
    ({"defaultPipelineRoot": "gs://b/x"}, {}, True, ""),
])  # fmt: skip
def test_what_keeps_reports_out_of_the_ui_is_told(
    data: dict[str, str], variables: dict[str, str], is_own: bool, why: str
) -> None:
    reason = artifacts.hidden(artifacts.read(data), variables, is_own=is_own)
    assert (why in reason, bool(reason)) == (True, bool(why))


def test_reports_that_stay_blank_are_a_finding_with_what_mends_it(cluster: Cluster) -> None:
    cluster.config("kfp-launcher", OWN, namespace="ada")
    cluster.secret("own", {"k": "a", "s": "b"}, namespace="ada")
    found = seen(artifacts.artifacts, "ada")
    assert found["kfp-launcher"].state == "ok"
    assert (found["reports in the UI"].state, TEAM in found["reports in the UI"].mend) == ("warn", True)
    cluster.config("pipeline-install-config", {"ARTIFACTS_PROXY_ENABLED": "true"})  # where KFP's manifests take it from
    assert seen(artifacts.artifacts, "ada")["reports in the UI"].state == "ok"
    del cluster.objects["/apis/apps/v1/namespaces/kubeflow/deployments/ml-pipeline-ui"]
    assert seen(artifacts.artifacts, "ada")["reports in the UI"].state == "info"


# -- profiles ----------------------------------------------------------------------------------------------------------


def multi_user(cluster: Cluster) -> None:
    """As the kustomization of KFP with profiles has it: a generated ConfigMap, named in the Deployment."""
    reference = {"configMapRef": {"name": "pipeline-api-server-config-dc9hkg52h6"}}
    cluster.deployment("ml-pipeline", "kfp-api-server:2.17.0", envFrom=[reference])
    cluster.config("pipeline-api-server-config-dc9hkg52h6", {"MULTIUSER": "true"})


def add_profile(cluster: Cluster, name: str, **labels: str) -> None:
    owner = {"kind": "User", "name": f"{name}@example.com"}
    cluster.add("kubeflow.org/v1", "profiles", name, {"spec": {"owner": owner}}, core=True)
    cluster.add("", "namespaces", name, {"metadata": {"labels": labels}}, core=True)


def test_where_kfp_serves_one_user_there_is_nothing_to_say_of_profiles(cluster: Cluster) -> None:
    assert seen(profiles.profile) == {}


def test_a_profile_is_told_with_its_owner_and_its_runs_account(cluster: Cluster) -> None:
    multi_user(cluster)
    add_profile(cluster, "ada", **{profiles.ENABLED: "true"})
    checkup = Checkup(Api(), "ada", kfp="kubeflow")
    (found,) = profiles.profile(checkup)
    assert (found.state, found.found) == ("ok", "ada, of ada@example.com")
    assert checkup.account == "default-editor"


def test_a_namespace_that_is_no_profile_runs_nothing(cluster: Cluster) -> None:
    multi_user(cluster)
    found = seen(profiles.profile, "team")["profile"]
    assert (found.state, "team is none" in found.found) == ("missing", True)


def test_a_profile_that_kfp_does_not_look_after_is_told(cluster: Cluster) -> None:
    multi_user(cluster)
    add_profile(cluster, "ada")
    found = seen(profiles.profile, "ada")["profile"]
    assert found.mend == "kubectl label namespace ada pipelines.kubeflow.org/enabled=true"
    assert found.state == "warn"


def test_a_profile_beside_a_kfp_for_one_user_is_told_where_its_runs_run(cluster: Cluster) -> None:
    add_profile(cluster, "ada")
    found = seen(profiles.profile, "ada")["profile"]
    assert (found.state, bool(re.search("its runs run in kubeflow", found.found))) == ("warn", True)


# -- the security that an admin adds to steps --------------------------------------------------------------------------


def test_what_kfps_admin_adds_to_each_steps_security_is_part_of_the_tried_pod(cluster: Cluster) -> None:
    """As KFP's manifests wire it; whoever may not look there gets a pod without it."""
    keys = {"USER": "defaultSecurityContextRunAsUser", "NON_ROOT": "defaultSecurityContextRunAsNonRoot"}
    variables = [
        {"name": f"DEFAULT_SECURITY_CONTEXT_RUN_AS_{name}",
         "valueFrom": {"configMapKeyRef": {"name": "pipeline-install-config", "key": key, "optional": True}}}
        for name, key in keys.items()
    ]  # fmt: skip
    cluster.deployment("ml-pipeline", "kfp-api-server:2.17.0", env=variables)
    checkup = Checkup(Api(), "kubeflow", kfp="kubeflow")
    assert kfp.security(checkup) == {}
    cluster.config("pipeline-install-config", {keys["USER"]: "1000", keys["NON_ROOT"]: "true"})
    assert kfp.security(checkup) == {"runAsUser": 1000, "runAsNonRoot": True}
    cluster.hidden.append("/deployments/")
    assert kfp.security(checkup) == {}
