"""Two pods that are started and deleted again: one as a replica of a training, one as a step of the compiled pipeline.

Both lead to the same store by different ways: a replica takes the whole Secret (envFrom), a step single keys
(secretKeyRef), with its own account, labels and security. Either may be cut off alone.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shipway import store_access
from shipway.doctor import Finding
from shipway.doctor.checkup import Checkup
from shipway.doctor.trials import container
from shipway.store_secret import DEFAULT_SECRET

POD_S = 90.0  # an image of 250 MB is pulled meanwhile
BUSY = "timed out waiting for the condition"  # a kubelet that is behind with its secrets, and tries again
REPLICA, STEP = "storage from a pod", "storage from a step"
# KFP 2.16 and above can have each step say that it does not run as root.
_NONROOT = (
    """kubectl -n {kfp} patch configmap pipeline-install-config --type merge -p '{{"data":"""
    """{{"defaultSecurityContextRunAsNonRoot":"true"}}}}' && kubectl -n {kfp} rollout restart deployment/ml-pipeline"""
)


def command() -> list[str]:
    """What both run."""
    return ["python", "-c", Path(__file__).with_name("inside.py").read_text(encoding="utf-8")]


def replica(checkup: Checkup) -> Iterator[Finding]:
    """A pod where a replica would stand."""
    secret = checkup.replica_secret or DEFAULT_SECRET
    yield from _started(checkup, REPLICA, _replica(checkup, secret), secret)


def step(checkup: Checkup) -> Iterator[Finding]:
    """A pod as Kubeflow starts it for a task, which reads its own pod as a step does before it opens the store."""
    from shipway.doctor.kfp import security
    from shipway.step_pod import step_pod

    if not checkup.documents:
        yield Finding(STEP, "info", "not tried: no step that runs an image of ours; --pipeline names another pipeline")
        return
    pod = step_pod(
        checkup.documents, executor=checkup.executor, name=f"shipway-doctor-{uuid.uuid4().hex[:6]}",
        namespace=checkup.namespace, account=checkup.account, command=command(), security=security(checkup),
    )  # fmt: skip
    main = pod["spec"]["containers"][0]
    main["image"] = checkup.image or main["image"]
    main |= {"args": ["--execution_id", "0"], "resources": container(checkup, "main", [])["resources"]}
    pod["spec"] |= {"activeDeadlineSeconds": 120, "terminationGracePeriodSeconds": 0}
    yield from _started(checkup, STEP, pod, checkup.store_secret)


def _started(checkup: Checkup, what: str, pod: dict[str, Any], secret: str) -> Iterator[Finding]:
    from shipway.executors.kubernetes.api import ApiError, explain

    if not checkup.can_start:
        yield Finding(what, "info", "not tried: see what is missing above")
        return
    name = pod["metadata"]["name"]
    try:
        checkup.api.post(f"{checkup.core}/pods", pod)
    except ApiError as error:
        if error.status == 403 and "cannot create" in error.message:
            yield Finding(what, "info", f"not tried: {checkup.user} may not create pods")
            return
        told = " ".join(str(explain(error, f"pod {name}", checkup.namespace)).split())
        quota = f"kubectl describe quota -n {checkup.namespace}"
        is_refused = what == STEP and "violates" in error.message
        yield Finding(what, "missing", told, _NONROOT.format(kfp=checkup.kfp or "kubeflow") if is_refused else quota)
        return
    try:
        yield from _asked(checkup, what, pod, secret)
    finally:
        checkup.api.delete(f"{checkup.core}/pods/{name}", gracePeriodSeconds=0)


def _asked(checkup: Checkup, what: str, pod: dict[str, Any], secret: str) -> Iterator[Finding]:
    """What the pod came to: its image, then storage."""
    from shipway.executors.kubernetes.states import STUCK_S, pod_state

    name, image = pod["metadata"]["name"], pod["spec"]["containers"][0]["image"]
    about = "image" if what == REPLICA else "a step's image"
    until, told = time.monotonic() + POD_S, ""
    while time.monotonic() < until:
        state = pod_state(checkup.api.get(f"{checkup.core}/pods/{name}"))
        told = " ".join(f"{state.waiting or state.phase}: {state.message}".split())
        if state.waiting == "CreateContainerConfigError" and BUSY not in state.message:
            look = f"describe secret {secret}" if "ecret" in state.message else "get events --sort-by=.lastTimestamp"
            yield Finding(what, "missing", told, f"kubectl -n {checkup.namespace} {look}")
            return
        if state.waiting in STUCK_S and BUSY not in state.message:
            yield Finding(about, "missing", f"{image}: {told}", _image_mend(checkup))
            yield Finding(what, "info", "not tried: the pod did not run")
            checkup.can_start = False
            return
        if state.phase in ("Succeeded", "Failed"):
            if what == REPLICA or not checkup.image:
                yield Finding(about, "ok", f"{image} runs; no other image was tried, --image names one")
            yield _storage(checkup, what, name, secret, state.exit_code)
            return
        time.sleep(0.5)
    look = f"kubectl get events -n {checkup.namespace} --sort-by=.lastTimestamp"
    yield Finding(about, "warn", f"{image}: no pod ran within {POD_S:g} s: {told}", look)
    yield Finding(what, "info", "not tried: the pod did not run")


def _storage(checkup: Checkup, what: str, name: str, secret: str, code: int | None) -> Finding:
    lines = list(checkup.api.lines(f"{checkup.core}/pods/{name}/log", {}))
    said = next((line.removeprefix("doctor ") for line in lines if line.startswith("doctor {")), "")
    if not said:
        last = lines[-1] if lines else "it said nothing"
        return Finding(what, "missing", f"the pod ended with exit code {code}: {last}",
                       "name an image with Python: --image")  # fmt: skip
    return judge(checkup, what, json.loads(said), secret)


def judge(checkup: Checkup, what: str, answer: dict[str, str], secret: str) -> Finding:
    """What the pod's line means, and what mends it."""
    if "how" in answer:
        return Finding(what, "ok", answer["how"])
    if "untried" in answer:
        return Finding(what, "info", f"not tried with keys: {answer['untried']}; --image names another")
    told = f"{answer['doing']}: {answer['kind']}: {answer['error']}"
    if answer["doing"] == "read its own pod":
        return Finding(what, "missing", told, checkup.install)
    keys = store_access.wrong_keys(answer["kind"])
    edit = f"kubectl -n {checkup.namespace} edit secret {secret}"
    rest = f"with keys that write, read, list and delete ({', '.join(keys)})"
    if keys == ("AWS_ENDPOINT_URL",):
        rest = "AWS_ENDPOINT_URL is to be what pods reach (storage.yaml of the overlay)"
    return Finding(what, "missing", told, f"{edit}; {rest}")


def _image_mend(checkup: Checkup) -> str:
    login = f"kubectl -n {checkup.namespace} create secret docker-registry registry --docker-server=... && "
    return f"make images, push them and `shipway publish --registry`; a private registry: {login}add it to the account"


def _replica(checkup: Checkup, secret: str) -> dict[str, Any]:
    """A pod that `restricted` admits, under the labels that network policies know replicas by."""
    from shipway import labels
    from shipway.executors.kubernetes.accounts import REPLICA as ACCOUNT
    from shipway.executors.kubernetes.accounts import give_account
    from shipway.executors.kubernetes.rendering import JOB, PEERS

    name = f"shipway-doctor-{uuid.uuid4().hex[:6]}"
    main = container(checkup, "doctor", command())
    main |= {
        "envFrom": [{"secretRef": {"name": secret}}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    ours = {labels.MANAGED_BY: "shipway", JOB: name, PEERS: name, "sidecar.istio.io/inject": "false"}
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec: dict[str, Any] = {"restartPolicy": "Never", "activeDeadlineSeconds": 120, "terminationGracePeriodSeconds": 0,
                            "securityContext": security, "containers": [main]}  # fmt: skip
    give_account(spec, ACCOUNT)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": ours}, "spec": spec}
