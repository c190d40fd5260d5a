"""Settings of Kubeflow Pipelines that decide how long a step takes, and whether its retries count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shipway.doctor import Finding
from shipway.doctor.cluster import Checkup

CONTROLLER = "workflow-controller"
CONFIG = "workflow-controller-configmap"
REQUEUE = "DEFAULT_REQUEUE_TIME"


def settings(checkup: Checkup) -> Iterator[Finding]:
    """Of the KFP in our namespace, or else in `kubeflow`."""
    for namespace in dict.fromkeys((checkup.namespace, "kubeflow")):
        controller = checkup.api.find(f"/apis/apps/v1/namespaces/{namespace}/deployments/{CONTROLLER}")
        if controller is not None:
            checkup.kfp = namespace
            yield _requeue(namespace, controller)
            config = checkup.api.find(f"/api/v1/namespaces/{namespace}/configmaps/{CONFIG}")
            yield _defaults(namespace, (config or {}).get("data") or {})
            return
    yield Finding("KFP", "info", f"not installed in {checkup.namespace} or kubeflow; jobs and endpoints work without")


def security(checkup: Checkup) -> dict[str, Any]:
    """What KFP's admin adds to the security context of each step's container (KFP 2.16 and above)."""
    config = checkup.api.find(f"/api/v1/namespaces/{checkup.kfp}/configmaps/pipeline-install-config")
    data = (config or {}).get("data") or {}
    given = {
        "runAsUser": data.get("defaultSecurityContextRunAsUser", ""),
        "runAsGroup": data.get("defaultSecurityContextRunAsGroup", ""),
    }
    found: dict[str, Any] = {name: int(value) for name, value in given.items() if value.isdigit()}
    root = data.get("defaultSecurityContextRunAsNonRoot", "").lower()
    return found | ({"runAsNonRoot": root == "true"} if root in ("true", "false") else {})


def _requeue(namespace: str, controller: dict[str, Any]) -> Finding:
    variables = {
        variable["name"]: variable.get("value")
        for container in controller["spec"]["template"]["spec"]["containers"]
        for variable in container.get("env") or []
    }
    found = variables.get(REQUEUE)
    if found:
        return Finding("KFP: requeue time", "ok", found)
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
