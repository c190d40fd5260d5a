"""What is tried out: webhooks by dry run, storage and the image by one pod that is deleted again."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from shipway.doctor import Finding
from shipway.doctor.cluster import Checkup

GPU = "nvidia.com/gpu"
POD_S = 90.0  # an image of 250 MB is pulled meanwhile
BUSY = "timed out waiting for the condition"  # a kubelet that is behind with its secrets, and tries again
# Runs in any image with Python: a whole round trip where ours is installed, else whether the store answers.
PROBE = """
import json, os, urllib.error, urllib.request
answer = {"how": "answers over HTTP; this image has no shipway to write with", "error": ""}
try:
    from shipway.storage import Store
except ImportError:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(os.environ["AWS_ENDPOINT_URL"], timeout=10)
    except urllib.error.HTTPError:
        pass
    except Exception as error:
        answer["error"] = f"{type(error).__name__}: {error}"
else:
    key, doing = f"doctor/{os.environ['HOSTNAME']}", "open"
    try:
        store = Store.open(os.environ["SHIPWAY_STORE"])
        for doing, act in (
            ("write", lambda: store.put(key, b"x")), ("read", lambda: store.get(key)),
            ("list", lambda: list(store.list("doctor"))), ("delete", lambda: store.delete(key)),
        ):
            act()
        answer["how"] = "written, read, listed and deleted"
    except Exception as error:
        answer["error"] = f"{doing}: {type(error).__name__}: {error}"
print("doctor " + json.dumps(answer), flush=True)
"""


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
    """A tiny job and a tiny endpoint, created with dryRun: quota, Pod Security and webhooks all speak."""
    for plural, manifest in (("tfjobs", _tfjob(checkup)), ("inferenceservices", _service(checkup))):
        if plural in checkup.kinds:
            yield _dry(checkup, plural, manifest)


def pod(checkup: Checkup) -> Iterator[Finding]:
    """Starts one pod where a replica would stand, and asks it whether storage answers."""
    from shipway.executors.kubernetes.api import ApiError, explain

    if not checkup.can_start:
        yield Finding("storage from a pod", "info", "not tried: see what is missing above")
        return
    name = f"shipway-doctor-{uuid.uuid4().hex[:6]}"
    try:
        checkup.api.post(f"{checkup.core}/pods", _probe(checkup, name))
    except ApiError as error:
        if error.status == 403 and "exceeded quota" not in error.message and "violates" not in error.message:
            yield Finding("storage from a pod", "info", f"not tried: {checkup.user} may not create pods")
            return
        told = " ".join(str(explain(error, f"pod {name}", checkup.namespace)).split())
        yield Finding("storage from a pod", "missing", told, f"kubectl describe quota -n {checkup.namespace}")
        return
    try:
        yield from _asked(checkup, name)
    finally:
        checkup.api.delete(f"{checkup.core}/pods/{name}", gracePeriodSeconds=0)


def _asked(checkup: Checkup, name: str) -> Iterator[Finding]:
    """What the pod came to: its image, then storage."""
    from shipway.executors.kubernetes.states import STUCK_S, pod_state

    until, told = time.monotonic() + POD_S, ""
    skipped = "not tried: the pod did not run"
    while time.monotonic() < until:
        state = pod_state(checkup.api.get(f"{checkup.core}/pods/{name}"))
        told = " ".join(f"{state.waiting or state.phase}: {state.message}".split())
        if state.waiting in STUCK_S and BUSY not in state.message:
            yield Finding("image", "missing", f"{checkup.image}: {told}", _image_mend(checkup, state.waiting))
            yield Finding("storage from a pod", "info", skipped)
            return
        if state.phase in ("Succeeded", "Failed"):
            yield Finding("image", "ok", f"{checkup.image} runs; no other image was tried, --image names one")
            yield _storage(checkup, name, state.exit_code)
            return
        time.sleep(0.5)
    look = f"kubectl get events -n {checkup.namespace} --sort-by=.lastTimestamp"
    yield Finding("image", "warn", f"{checkup.image}: no pod ran within {POD_S:g} s: {told}", look)
    yield Finding("storage from a pod", "info", skipped)


def _storage(checkup: Checkup, name: str, code: int | None) -> Finding:
    what = "storage from a pod"
    lines = list(checkup.api.lines(f"{checkup.core}/pods/{name}/log", {}))
    said = next((line.removeprefix("doctor ") for line in lines if line.startswith("doctor {")), "")
    if not said:
        last = lines[-1] if lines else "it said nothing"
        return Finding(
            what, "warn", f"the pod ended with exit code {code}: {last}", "name an image with Python: --image"
        )
    answer = json.loads(said)
    if answer["error"]:
        edit = f"kubectl -n {checkup.namespace} edit secret shipway-store"
        rest = "let pods reach it (storage.yaml of the overlay), with keys that write, read, list and delete"
        return Finding(what, "missing", answer["error"], f"{edit}; and {rest}")
    return Finding(what, "ok", answer["how"])


def _image_mend(checkup: Checkup, waiting: str) -> str:
    if waiting == "CreateContainerConfigError":
        return f"kubectl -n {checkup.namespace} describe secret shipway-store"
    login = f"kubectl -n {checkup.namespace} create secret docker-registry registry --docker-server=... && "
    return f"make images, push them and `shipway publish --registry`; a private registry: {login}add it to the account"


def _dry(checkup: Checkup, plural: str, manifest: dict[str, Any]) -> Finding:
    from shipway.executors.kubernetes.api import ApiError, explain
    from shipway.executors.kubernetes.kinds import kind_of

    kind = kind_of(manifest)
    what = f"{kind.name} by dry run"
    try:
        checkup.api.post(kind.path(checkup.namespace), manifest, dryRun="All")
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
    container = _container(checkup, "tensorflow", ["true"])
    if checkup.gpus:
        container["resources"]["limits"] = {GPU: str(checkup.gpus)}
    replica = {"replicas": 1, "restartPolicy": "Never", "template": {"spec": {"containers": [container]}}}
    return {"apiVersion": "kubeflow.org/v1", "kind": "TFJob", "metadata": {"name": "shipway-doctor"},
            "spec": {"runPolicy": {"cleanPodPolicy": "All"}, "tfReplicaSpecs": {"Worker": replica}}}  # fmt: skip


def _service(checkup: Checkup) -> dict[str, Any]:
    container = _container(checkup, "kserve-container", ["true"])
    mode = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
            "metadata": {"name": "shipway-doctor", "annotations": mode},
            "spec": {"predictor": {"minReplicas": 1, "containers": [container]}}}  # fmt: skip


def _probe(checkup: Checkup, name: str) -> dict[str, Any]:
    """A pod that `restricted` admits, under the labels that network policies know replicas by."""
    from shipway import labels
    from shipway.executors.kubernetes.rendering import JOB
    from shipway.store_secret import DEFAULT_SECRET

    container = _container(checkup, "doctor", ["python", "-c", PROBE])
    container |= {
        "envFrom": [{"secretRef": {"name": DEFAULT_SECRET}}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    ours = {labels.MANAGED_BY: "shipway", JOB: name, "sidecar.istio.io/inject": "false"}
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "activeDeadlineSeconds": 120, "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False, "securityContext": security,
            "containers": [container]}  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": ours}, "spec": spec}


def _container(checkup: Checkup, name: str, command: list[str]) -> dict[str, Any]:
    small = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    return {"name": name, "image": checkup.image, "command": command, "resources": small}
