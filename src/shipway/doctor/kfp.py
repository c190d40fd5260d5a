"""Settings of Kubeflow Pipelines that decide how long a step takes, and whether its retries count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shipway.doctor import Finding
from shipway.doctor.checkup import Checkup

SERVER = "ml-pipeline"
CONTROLLER = "workflow-controller"
CONFIG = "workflow-controller-configmap"
REQUEUE = "DEFAULT_REQUEUE_TIME"


def settings(checkup: Checkup) -> Iterator[Finding]:
    """Of the KFP in our namespace, or else in `kubeflow`."""
    for namespace in dict.fromkeys((checkup.namespace, "kubeflow")):
        controller = deployment(checkup, namespace, CONTROLLER)
        if controller is not None:
            checkup.kfp = namespace
            yield _requeue(namespace, variables(checkup, namespace, controller).get(REQUEUE, ""))
            yield _defaults(namespace, _config(checkup, namespace, CONFIG))
            return
    yield Finding("KFP", "info", f"not installed in {checkup.namespace} or kubeflow; jobs and endpoints work without")


def variables(checkup: Checkup, namespace: str, owner: dict[str, Any]) -> dict[str, str]:
    """The variables of a Deployment's first container; a Secret's are empty, since nobody needs them here."""
    container = owner["spec"]["template"]["spec"]["containers"][0]
    values: dict[str, str] = {}
    for each in container.get("envFrom") or []:
        values |= _config(checkup, namespace, (each.get("configMapRef") or {}).get("name", ""))
    for each in container.get("env") or []:
        reference = (each.get("valueFrom") or {}).get("configMapKeyRef") or {}
        given = _config(checkup, namespace, reference.get("name", "")).get(reference.get("key", ""), "")
        values[each["name"]] = each.get("value") or given
    return values


def security(checkup: Checkup) -> dict[str, Any]:
    """What KFP's admin adds to the security context of each step's container (KFP 2.16 and above), if we may see it."""
    from shipway.executors.kubernetes.api import ApiError

    prefix = "DEFAULT_SECURITY_CONTEXT_RUN_AS"
    try:
        server = deployment(checkup, checkup.kfp, SERVER) if checkup.kfp else None
        told = variables(checkup, checkup.kfp, server) if server else {}
    except ApiError as error:
        if error.status != 403:
            raise
        return {}
    numbers = {"runAsUser": told.get(f"{prefix}_USER", ""), "runAsGroup": told.get(f"{prefix}_GROUP", "")}
    context: dict[str, Any] = {name: int(value) for name, value in numbers.items() if value.isdigit()}
    root = told.get(f"{prefix}_NON_ROOT", "").lower()
    return context | ({"runAsNonRoot": root == "true"} if root in ("true", "false") else {})


def deployment(checkup: Checkup, namespace: str, name: str) -> dict[str, Any] | None:
    """One of KFP's; None where there is none."""
    existing: dict[str, Any] | None = checkup.api.find(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    return existing


def _config(checkup: Checkup, namespace: str, name: str) -> dict[str, str]:
    config = checkup.api.find(f"/api/v1/namespaces/{namespace}/configmaps/{name}") if name else None
    return dict((config or {}).get("data") or {})


def _requeue(namespace: str, given: str) -> Finding:
    if given:
        return Finding("KFP: requeue time", "ok", given)
    return Finding(
        "KFP: requeue time", "warn", f"{REQUEUE} is not set: each pod of a step waits about 10 s",
        f"kubectl -n {namespace} patch deployment {CONTROLLER} --patch-file manifests/kfp/requeue-time.yaml",
    )  # fmt: skip


def _defaults(namespace: str, data: dict[str, str]) -> Finding:
    """workflowDefaults without its templateDefaults; what else stands there (KFP's ttlStrategy) stays."""
    import yaml

    what = "KFP: retries"
    try:
        defaults = yaml.safe_load(data.get("workflowDefaults") or "") or {}
        unwanted = (defaults.get("spec") or {}).pop("templateDefaults", None)
    except (yaml.YAMLError, AttributeError):
        return Finding(what, "warn", f"workflowDefaults of {CONFIG} is not a YAML mapping",
                       f"kubectl -n {namespace} edit configmap {CONFIG}")  # fmt: skip
    if not unwanted:
        return Finding(what, "ok", "no templateDefaults: a task's own count")
    kept = {key: value for key, value in defaults.items() if value}
    given = json.dumps({"data": {"workflowDefaults": yaml.safe_dump(kept) if kept else None}})
    return Finding(
        what, "warn", "templateDefaults wins over a task's own, and multiplies at every level",
        f"kubectl -n {namespace} patch configmap {CONFIG} --type merge -p '{given}'",
    )  # fmt: skip
