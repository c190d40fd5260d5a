"""The pod that Kubeflow starts for a task, as its driver and compiler (KFP 2.17) make it from a compiled pipeline.

For whoever must know what a step gets before there is one: `doctor`, `submit`, and the tests' pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shipway.images import DEFAULTS
from shipway.mounted import KFP_POD

# Where KFP's launcher and a user's code write, each an emptyDir.
FOLDERS = {
    "kfp-launcher": "/kfp-launcher",
    "gcs-scratch": "/gcs",
    "s3-scratch": "/s3",
    "minio-scratch": "/minio",
    "dot-local-scratch": "/.local",
    "dot-cache-scratch": "/.cache",
    "dot-config-scratch": "/.config",
}
OWN = {KFP_POD: "metadata.name", "KFP_POD_UID": "metadata.uid"}
V2 = "pipelines.kubeflow.org/v2_component"
SECCOMP = {"type": "RuntimeDefault"}
SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": SECCOMP,
}


def executors(documents: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Executor -> its container, in the order of the IR; importers and the like have none."""
    by_name = (documents[0].get("deploymentSpec") or {}).get("executors") or {}
    return {name: dict(executor["container"]) for name, executor in by_name.items() if "container" in executor}


def ours(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Executors that run one of our images, whatever registry, tag or digest it has."""
    names = {image.rpartition("/")[2].partition(":")[0] for image in DEFAULTS.values()}
    return [
        name
        for name, container in executors(documents).items()
        if str(container["image"]).rpartition("/")[2].partition("@")[0].partition(":")[0] in names
    ]


def step_environment(documents: Sequence[Mapping[str, Any]], executor: str) -> list[dict[str, Any]]:
    """The variables of a task's container, as entries of a core/v1 container's `env`.

    Args:
        documents: IR and, where there is one, platform spec.
        executor: The task's executor, `exec-job`.
    """
    variables = {each["name"]: each for each in executors(documents)[executor].get("env") or []}
    entries: list[dict[str, Any]] = [{"name": name, "value": each.get("value", "")} for name, each in variables.items()]
    settings = _settings(documents, executor)
    if _is_passed_on(documents[0], executor, "ENV"):
        settings = {}
    for kind in ("secret", "configMap"):
        for each in settings.get(f"{kind}AsEnv") or []:
            name, optional = _name(each, kind), {"optional": True} if each.get("optional") else {}
            for pair in each.get("keyToEnv") or []:
                reference = {"name": name, "key": pair[f"{kind}Key"], **optional}
                entries.append({"name": pair["envVar"], "valueFrom": {f"{kind}KeyRef": reference}})
    for each in settings.get("fieldPathAsEnv") or []:
        entries.append(_field(each["name"], each["fieldPath"]))
    entries += [_field(name, path) for name, path in OWN.items()]
    return list({entry["name"]: entry for entry in entries}.values())


def step_pod(
    documents: Sequence[Mapping[str, Any]],
    *,
    executor: str,
    name: str,
    namespace: str,
    account: str,
    command: Sequence[str],
    run: str = "",
    security: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The task's pod, with another command than KFP's launcher; without the resources and nodes that it asks for.

    Args:
        documents: IR and, where there is one, platform spec.
        executor: The task's executor, `exec-job`.
        account: ServiceAccount of the run's pods.
        command: Of the container `main`.
        run: The run's id; the pod's name for none.
        security: What the install adds to each step's container (KFP's DEFAULT_SECURITY_CONTEXT_*).
    """
    settings = _settings(documents, executor)
    extra = settings.get("podMetadata") or {}
    container = {
        "name": "main",
        "image": executors(documents)[executor]["image"],
        "command": list(command),
        "env": step_environment(documents, executor),
        "envFrom": [{"configMapRef": {"name": "metadata-grpc-configmap", "optional": True}}],
        "securityContext": {**SECURITY, **(security or {})},
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in FOLDERS.items()],
    }
    if settings.get("imagePullPolicy"):
        container["imagePullPolicy"] = settings["imagePullPolicy"]
    spec: dict[str, Any] = {
        "serviceAccountName": account,
        "restartPolicy": "Never",
        "securityContext": {"seccompProfile": SECCOMP},
        "containers": [container],
        "volumes": [{"name": volume, "emptyDir": {}} for volume in FOLDERS],
    }
    if settings.get("imagePullSecret"):
        spec["imagePullSecrets"] = [{"name": _name(each, "secret")} for each in settings["imagePullSecret"]]
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {V2: "true", "pipeline/runid": run or name, **(extra.get("labels") or {})},
        "annotations": {V2: "true", "sidecar.istio.io/inject": "false", **(extra.get("annotations") or {})},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def required_keys(documents: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Secret -> keys without which some task's pod cannot start; a Secret that only the run names is left out."""
    keys_by_secret: dict[str, list[str]] = {}
    for executor in executors(documents):
        for entry in step_environment(documents, executor):
            wanted = _secret_of(entry)
            if wanted.get("name") and not wanted.get("optional"):
                keys = keys_by_secret.setdefault(wanted["name"], [])
                keys += [wanted["key"]] if wanted["key"] not in keys else []
    return keys_by_secret


def taken(documents: Sequence[Mapping[str, Any]], executor: str, secret: str = "") -> dict[str, str]:
    """Variable -> key of a task's Secret; with no name, variable -> Secret."""
    entries = {each["name"]: _secret_of(each) for each in step_environment(documents, executor)}
    if not secret:
        return {name: str(each["name"]) for name, each in entries.items() if each.get("name")}
    return {name: str(each["key"]) for name, each in entries.items() if each.get("name") == secret}


def _secret_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    return dict((entry.get("valueFrom") or {}).get("secretKeyRef") or {})


def _settings(documents: Sequence[Mapping[str, Any]], executor: str) -> dict[str, Any]:
    """What kfp.kubernetes set on the task."""
    for document in documents[1:]:
        deployment = ((document.get("platforms") or {}).get("kubernetes") or {}).get("deploymentSpec") or {}
        return dict((deployment.get("executors") or {}).get(executor) or {})
    return {}


def _is_passed_on(ir: Mapping[str, Any], executor: str, field: str) -> bool:
    """Whether the component hands this on to what it launches, in place of its own pod (`dsl.TaskConfig`)."""
    component: Mapping[str, Any] = next(
        (each for each in ir["components"].values() if each.get("executorLabel") == executor), {}
    )
    passed = {each["field"]: each.get("applyToTask", False) for each in component.get("taskConfigPassthroughs") or []}
    return field in passed and not passed[field]


def _name(setting: Mapping[str, Any], kind: str) -> str:
    """A Secret's or ConfigMap's name; empty where only the run knows it (a parameter of the task)."""
    given = setting.get(f"{kind}NameParameter") or {}
    constant = (given.get("runtimeValue") or {}).get("constant")
    return str(constant or setting.get(f"{kind}Name") or "")


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
