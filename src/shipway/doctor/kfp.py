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
BUCKET = "mlpipeline"  # that KFP brings


def settings(checkup: Checkup) -> Iterator[Finding]:
    """Of the KFP in our namespace, or else in `kubeflow`."""
    for namespace in dict.fromkeys((checkup.namespace, "kubeflow")):
        controller = checkup.api.find(f"/apis/apps/v1/namespaces/{namespace}/deployments/{CONTROLLER}")
        if controller is not None:
            yield _requeue(namespace, controller)
            config = checkup.api.find(f"/api/v1/namespaces/{namespace}/configmaps/{CONFIG}")
            yield _defaults(namespace, (config or {}).get("data") or {})
            found = checkup.api.find(f"{checkup.core}/configmaps/kfp-launcher")
            judge = _launcher if namespace == checkup.namespace else _profile
            yield judge(checkup.namespace, None if found is None else found.get("data") or {})
            return
    yield Finding("KFP", "info", f"not installed in {checkup.namespace} or kubeflow; jobs and endpoints work without")


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
    """templateDefaults, wherever Argo takes them from: a key of its own, or within workflowDefaults."""
    import yaml

    what = "KFP: retries"
    patch: dict[str, Any] = {}
    if "templateDefaults" in data:
        patch["templateDefaults"] = None
    try:
        defaults = yaml.safe_load(data.get("workflowDefaults") or "") or {}
        if (defaults.get("spec") or {}).pop("templateDefaults", None):
            kept = {key: value for key, value in defaults.items() if value}
            patch["workflowDefaults"] = yaml.safe_dump(kept) if kept else None
    except (yaml.YAMLError, AttributeError):
        return Finding(what, "warn", f"workflowDefaults of {CONFIG} is not a YAML mapping",
                       f"kubectl -n {namespace} edit configmap {CONFIG}")  # fmt: skip
    if not patch:
        return Finding(what, "ok", "no templateDefaults: a task's own count")
    given = json.dumps({"data": patch})
    return Finding(
        what, "warn", "templateDefaults wins over a task's own, and multiplies at every level",
        f"kubectl -n {namespace} patch configmap {CONFIG} --type merge -p '{given}'",
    )  # fmt: skip


def _launcher(name: str, data: dict[str, str] | None) -> Finding:
    """Where KFP standalone keeps artifacts; `data`: the ConfigMap's, None where there is none."""
    what, wanted = "KFP: kfp-launcher", ("defaultPipelineRoot", "providers")
    given = data or {}
    if all(given.get(key) for key in wanted):
        return Finding(what, "ok", given["defaultPipelineRoot"])
    mend = f"kubectl -n {name} create configmap kfp-launcher && " if data is None else ""
    lacks = " and ".join(key for key in wanted if not given.get(key))
    text = f"no ConfigMap kfp-launcher in {name}" if data is None else f"without {lacks}"
    patch = f"kubectl -n {name} patch configmap kfp-launcher --type merge --patch-file manifests/kfp/kfp-launcher.yaml"
    return Finding(what, "warn", f"{text}: artifacts go to KFP's default store", mend + patch)


def _profile(name: str, data: dict[str, str] | None) -> Finding:
    """Likewise with profiles: a team's keys reach `private-artifacts/TEAM` and little else of KFP's bucket."""
    what, own = "KFP: kfp-launcher", f"{BUCKET}/private-artifacts/{name}/"
    root = (data or {}).get("defaultPipelineRoot", "")
    if root and (f"://{BUCKET}/" not in root or f"://{own}" in root):
        return Finding(what, "ok", root)
    wanted = f"minio://{own}v2/artifacts"
    mend = f"kubectl -n {name} create configmap kfp-launcher --from-literal=defaultPipelineRoot={wanted}"
    if data is not None:
        patch = json.dumps({"data": {"defaultPipelineRoot": wanted}})
        mend = f"kubectl -n {name} patch configmap kfp-launcher --type merge -p '{patch}'"
    where = root or "KFP's default root"
    return Finding(what, "warn", f"artifacts go to {where}, which a profile's keys do not reach", mend)
