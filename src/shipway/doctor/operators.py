"""The kinds that the cluster serves, in which version, and whether who acts on them runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shipway.doctor import Finding, State
from shipway.doctor.checkup import Checkup
from shipway.executors.kubernetes.installs import KATIB, KSERVE, TRAINING

STANDARD = ("RawDeployment", "Standard")


@dataclass(frozen=True)
class _Wanted:
    plural: str
    group: str
    versions: tuple[str, ...]
    without: State  # how bad it is that it is missing
    use: str
    mend: str


WANTED = (
    _Wanted("tfjobs", "kubeflow.org", ("v1",), "missing", "trainings", TRAINING),
    _Wanted("mpijobs", "kubeflow.org", ("v1", "v2beta1"), "warn", "strategy horovod", TRAINING),
    _Wanted("inferenceservices", "serving.kserve.io", ("v1beta1",), "missing", "endpoints", KSERVE),
    _Wanted("experiments", "kubeflow.org", ("v1beta1",), "info", "sweeps with engine: katib; others need none", KATIB),
)


def kinds(checkup: Checkup) -> Iterator[Finding]:
    """Each kind in a version that we speak."""
    served = {group: list(_served(checkup, group)) for group in {wanted.group for wanted in WANTED}}
    for wanted in WANTED:
        versions = [version for version, plural in served[wanted.group] if plural == wanted.plural]
        usable = next((version for version in wanted.versions if version in versions), "")
        if usable:
            checkup.kinds[wanted.plural] = usable
            yield Finding(wanted.plural, "ok", f"{wanted.group}/{usable}")
        elif versions:
            needs = " or ".join(wanted.versions)
            text = f"served as {wanted.group}/{', '.join(versions)}, needs {needs} (for {wanted.use})"
            yield Finding(wanted.plural, wanted.without, text, wanted.mend)
        else:
            text = f"no {wanted.plural}.{wanted.group} here (for {wanted.use})"
            yield Finding(wanted.plural, wanted.without, text, wanted.mend)


def running(checkup: Checkup) -> Iterator[Finding]:
    """Who acts on the kinds: a custom resource without an operator stays as it is for ever."""
    names = {"tfjobs": "training-operator", "inferenceservices": "kserve-controller-manager"}
    if checkup.kinds.get("mpijobs") == "v2beta1":
        names["mpijobs"] = "mpi-operator"
    for plural, name in names.items():
        if plural not in checkup.kinds:
            continue
        deployments = checkup.api.get("/apis/apps/v1/deployments", fieldSelector=f"metadata.name={name}")["items"]
        yield _running(name, plural, deployments)


def serving_mode(checkup: Checkup) -> Iterator[Finding]:
    """KServe's default mode, and whether what it needs is there; our endpoints name theirs."""
    if "inferenceservices" not in checkup.kinds:
        return
    for namespace in ("kserve", "kubeflow"):
        config = checkup.api.find(f"/api/v1/namespaces/{namespace}/configmaps/inferenceservice-config")
        if config is None:
            continue
        try:
            mode = str(json.loads((config.get("data") or {}).get("deploy") or "{}").get("defaultDeploymentMode", ""))
        except ValueError:
            mode = ""
        if mode in STANDARD or checkup.api.find("/apis/serving.knative.dev") is not None:
            yield Finding("KServe's mode", "ok", mode or "Knative, KServe's default")
            return
        patch = json.dumps({"data": {"deploy": json.dumps({"defaultDeploymentMode": "Standard"})}})
        yield Finding(
            "KServe's mode", "warn", f"{mode or 'Knative'} is the default, and Knative is not here",
            f"kubectl -n {namespace} patch configmap inferenceservice-config --type merge -p '{patch}'",
        )  # fmt: skip
        return
    yield Finding("KServe's mode", "info", "no ConfigMap inferenceservice-config in kserve or kubeflow")


def _served(checkup: Checkup, group: str) -> Iterator[tuple[str, str]]:
    """Version and plural of each kind of an API group."""
    group_document = checkup.api.find(f"/apis/{group}")
    for version in (group_document or {}).get("versions") or []:
        resources = checkup.api.find(f"/apis/{group}/{version['version']}") or {}
        for resource in resources.get("resources") or []:
            yield version["version"], resource["name"]


def _running(name: str, plural: str, deployments: list[dict[str, Any]]) -> Finding:
    if not deployments:
        return Finding(name, "warn", f"no Deployment of that name; somebody else must act on {plural}",
                       f"kubectl get deployments -A | grep {name}")  # fmt: skip
    metadata, status = deployments[0]["metadata"], deployments[0].get("status") or {}
    where = metadata["namespace"]
    if int(status.get("availableReplicas") or 0) > 0:
        containers = deployments[0]["spec"]["template"]["spec"]["containers"]
        return Finding(name, "ok", f"runs in {where} ({containers[0]['image']})")
    if deployments[0]["spec"].get("replicas") == 0:
        return Finding(name, "missing", f"scaled to none in {where}",
                       f"kubectl -n {where} scale deployment/{name} --replicas=1")  # fmt: skip
    look = f"kubectl -n {where} describe deployment/{name} && kubectl -n {where} logs deployment/{name}"
    return Finding(name, "missing", f"no pod of it is available in {where}", look)
