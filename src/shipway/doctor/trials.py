"""What is tried out without a pod: GPUs, and webhooks, quotas and policies by dry run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shipway.doctor import Finding
from shipway.doctor.checkup import Checkup

GPU = "nvidia.com/gpu"


def gpus(checkup: Checkup) -> Iterator[Finding]:
    """What nodes can give to one replica."""
    items = checkup.api.get("/api/v1/nodes")["items"]
    each = {item["metadata"]["name"]: int((item["status"].get("allocatable") or {}).get(GPU, 0)) for item in items}
    largest, total = max(each.values(), default=0), sum(each.values())
    look = r"kubectl get nodes -o custom-columns='NODE:.metadata.name,GPU:.status.allocatable.nvidia\.com/gpu'"
    if checkup.gpus > largest:
        text = f"{checkup.gpus} asked for a replica, and the largest of {len(each)} nodes has {largest}"
        yield Finding("GPUs", "missing", text, f"{look}; then resources.gpu of at most {largest}")
    elif total:
        holders = sum(1 for count in each.values() if count)
        yield Finding("GPUs", "ok", f"{total} on {holders} of {len(each)} nodes, at most {largest} for a replica")
    else:
        yield Finding("GPUs", "info", f"none on {len(each)} nodes: leave resources.gpu at 0")


def webhooks(checkup: Checkup) -> Iterator[Finding]:
    """A tiny job and a tiny endpoint, as a step would make them, by dry run: quota, Pod Security and webhooks speak."""
    for plural, manifest in (("tfjobs", _tfjob(checkup)), ("inferenceservices", _service(checkup))):
        if plural in checkup.kinds:
            yield _dry(checkup, plural, manifest)


def _dry(checkup: Checkup, plural: str, manifest: dict[str, Any]) -> Finding:
    from shipway.context import Context
    from shipway.executors.kubernetes import services
    from shipway.executors.kubernetes.api import ApiError, explain
    from shipway.executors.kubernetes.kinds import SERVICE, kind_of
    from shipway.executors.kubernetes.rendering import rendered

    kind, context = kind_of(manifest), replace(Context.current(), namespace=checkup.namespace)
    made = (
        services.rendered(manifest, context) if kind.name == SERVICE else rendered(manifest, kind, context, 0, None, "")
    )
    what = f"{kind.name} by dry run"
    try:
        checkup.api.post(kind.path(checkup.namespace), made, dryRun="All")
    except ApiError as error:
        told = " ".join(str(explain(error, f"{kind.name} shipway-doctor", checkup.namespace)).split())
        if "failed calling webhook" in error.message:
            return Finding(
                what, "missing", told, f"kubectl get validatingwebhookconfigurations | grep -e {plural} -e operator"
            )
        if "exceeded quota" in error.message:
            return Finding(what, "missing", told, f"kubectl describe quota -n {checkup.namespace}")
        if error.status == 403 and "cannot create" in error.message:
            return Finding(what, "info", f"not tried: {checkup.user} may not create {plural}")
        return Finding(what, "missing", told, f"kubectl get events -n {checkup.namespace}")
    return Finding(what, "ok", "accepted, and nothing created")


def _tfjob(checkup: Checkup) -> dict[str, Any]:
    main = container(checkup, "tensorflow", ["true"])
    if checkup.gpus:
        main["resources"]["limits"] = {GPU: str(checkup.gpus)}
    replica = {"replicas": 1, "restartPolicy": "Never", "template": {"spec": {"containers": [main]}}}
    return {"apiVersion": "kubeflow.org/v1", "kind": "TFJob", "metadata": {"name": "shipway-doctor"},
            "spec": {"runPolicy": {"cleanPodPolicy": "All"}, "tfReplicaSpecs": {"Worker": replica}}}  # fmt: skip


def _service(checkup: Checkup) -> dict[str, Any]:
    main = container(checkup, "kserve-container", ["true"])
    mode = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
            "metadata": {"name": "shipway-doctor", "annotations": mode},
            "spec": {"predictor": {"minReplicas": 1, "containers": [main]}}}  # fmt: skip


def container(checkup: Checkup, name: str, command: list[str]) -> dict[str, Any]:
    """A small one, of the image that is tried."""
    small = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    return {"name": name, "image": checkup.probed, "command": command, "resources": small}
