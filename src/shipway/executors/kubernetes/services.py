"""InferenceService: applied, replaced in place, and Ready when the new version alone takes requests."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from shipway import labels
from shipway.context import Context
from shipway.errors import Conflict, InvalidSpec, ShipwayError
from shipway.executors import identity
from shipway.executors.base import REPLACED, Event, Handle, Manifest, OnEvent, Outcome, ReplicaFailure
from shipway.executors.kubernetes.accounts import PREDICTOR, give_account
from shipway.executors.kubernetes.api import Api, ApiError, explain
from shipway.executors.kubernetes.kinds import KINDS, PODS, SERVICE
from shipway.executors.kubernetes.rendering import with_store
from shipway.executors.kubernetes.states import LAST_LINES, STUCK_S, last_start, pod_state, seconds_of
from shipway.store_secret import PREDICTOR_SECRET

KIND = KINDS[("serving.kserve.io/v1beta1", SERVICE)]
POLL_S = 0.5
GONE_S = 120.0
CRASHES = 2  # starts that failed before a version is given up
POD_LABEL = "serving.kserve.io/inferenceservice"


def ensure(api: Api, context: Context, manifest: Manifest) -> Handle:
    """Creates the service, or replaces its spec; see `Executor.ensure`. A service outlives the run that made it.

    Raises:
        Conflict: a service of that name that is not ours.
        InvalidSpec: what KServe's webhook refuses.
        UserError: no permission, kind or namespace missing.
    """
    made = rendered(manifest, context)
    metadata = made["metadata"]
    name, namespace, digest = metadata["name"], metadata["namespace"], metadata["annotations"][labels.SPEC_HASH]
    path = KIND.path(namespace, name)
    while True:
        try:
            present = _settled(api, path)
            _refuse_strangers(present)
            is_same = present is not None and _digest(present) == digest
            if present is None:
                present = api.post(KIND.path(namespace), made)
            elif not is_same:
                present = api.put(path, _over(present, made))
        except ApiError as error:
            if error.status == 409:  # it was changed or created meanwhile: judged anew
                continue
            raise explain(error, f"{SERVICE} {name}", namespace) from error
        _limit_disruption(api, present)
        return Handle(SERVICE, name, namespace, digest, adopted=is_same)


def rendered(manifest: Manifest, context: Context) -> Manifest:
    """The object to create: with our label, the predictor's account and Secret where the manifest names none, and the
    spec hash, which is taken before."""
    made = copy.deepcopy(manifest)
    metadata, predictor = made["metadata"], made["spec"]["predictor"]
    metadata["name"], metadata["namespace"] = identity.base_name(made), metadata.get("namespace") or context.namespace
    digest = (metadata.get("annotations") or {}).get(labels.SPEC_HASH) or identity.spec_hash(manifest)
    metadata["annotations"] = {**(metadata.get("annotations") or {}), labels.SPEC_HASH: digest}
    metadata["labels"] = {**(metadata.get("labels") or {}), labels.MANAGED_BY: "shipway"}
    for container in predictor.get("containers") or []:
        with_store(container, PREDICTOR_SECRET)
    give_account(predictor, PREDICTOR)
    return made


def follow(
    api: Api, context: Context, handle: Handle, *, on_event: OnEvent | None = None, deadline_s: float | None = None
) -> Outcome:
    """Waits until the handle's version alone takes new connections; one that does not come up is Failed."""
    try:
        return _follow(api, handle, on_event or (lambda _event: None), deadline_s)
    except ApiError as error:
        raise explain(error, f"{SERVICE} {handle.name}", handle.namespace) from error


def _follow(api: Api, handle: Handle, tell: OnEvent, deadline_s: float | None) -> Outcome:
    began, told = time.monotonic(), ""
    while True:
        seconds = time.monotonic() - began
        service = api.find(KIND.path(handle.namespace, handle.name))
        if service is None or _digest(service) != handle.spec_hash:
            replaced = ReplicaFailure(handle.name, None, REPLACED)
            message = f"endpoint {handle.name} was deleted or given another version"
            return Outcome("Failed", seconds, first_failure=replaced, message=message)
        what = _not_ready(api, handle, service)
        if not what:
            tell(Event(time.time(), "ready", f"{handle.name} is ready"))
            return Outcome("Ready", seconds, url=_url(api, handle))
        if what != told:
            told = what
            tell(Event(time.time(), "waiting", f"{handle.name}: {what}"))
        failure = _failure(api, handle, service)
        if failure is None and deadline_s is not None and seconds > deadline_s:
            failure = ReplicaFailure(handle.name, None, "Deadline", _last_lines(api, handle))
            what = f"not ready within deadline_s {deadline_s:g}: {what}"
        if failure is not None:
            message = f"endpoint {handle.name}: {failure.reason}; {what}"
            return Outcome("Failed", seconds, first_failure=failure, message=message)
        time.sleep(POLL_S)


def cancel(api: Api, handle: Handle) -> None:
    """Deletes the service and waits until its pods are gone; safe to call twice.

    Raises:
        Conflict: it is not ours.
        ShipwayError: it does not go within two minutes.
    """
    path, until = KIND.path(handle.namespace, handle.name), time.monotonic() + GONE_S
    try:
        _refuse_strangers(api.find(path))
        api.delete(path)
        while _pods(api, handle) or api.find(path):
            if time.monotonic() > until:
                raise ShipwayError(
                    f"endpoint {handle.name}: deleted, but its pods are still there after {GONE_S:g} s; look: "
                    f"kubectl -n {handle.namespace} get pods -l {POD_LABEL}={handle.name}"
                )
            time.sleep(POLL_S)
    except ApiError as error:
        raise explain(error, f"{SERVICE} {handle.name}", handle.namespace) from error


def check_names(api: Api, namespace: str, names: Iterable[str]) -> None:
    """Refuses names that somebody else's service has.

    Raises:
        Conflict: names it, and what to do.
    """
    for name in names:
        try:
            _refuse_strangers(api.find(KIND.path(namespace, name)))
        except ApiError as error:
            raise explain(error, f"{SERVICE} {name}", namespace) from error


def _refuse_strangers(present: Mapping[str, Any] | None) -> None:
    """What people serve by hand is neither replaced nor deleted."""
    if present is None or (present["metadata"].get("labels") or {}).get(labels.MANAGED_BY) == "shipway":
        return
    name, namespace = present["metadata"]["name"], present["metadata"]["namespace"]
    raise Conflict(
        f"one of that name in namespace {namespace} was not made by Shipway and is left alone",
        field=f"{SERVICE} {name}",
        fix=f"give the model another name, or hand it over: `kubectl -n {namespace} label {KIND.plural} {name} "
        f"{labels.MANAGED_BY}=shipway --overwrite`",
    )


def _limit_disruption(api: Api, service: dict[str, Any]) -> None:
    """Nodes are drained one replica of an endpoint at a time.

    Each endpoint has a budget of its own: with one over all, an endpoint that is not ready would keep every other where
    it is. It goes with its service, whose uid is in its name: the budget of a deleted one is not taken for this one's.
    """
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    if max(int(predictor.get(key) or 1) for key in ("minReplicas", "maxReplicas")) < 2:
        return  # a budget that leaves one out of one keeps nothing
    name, namespace = f"{metadata['name']}-{metadata['uid'][:8]}", metadata["namespace"]
    owner = {"apiVersion": KIND.api_version, "kind": SERVICE, "name": metadata["name"], "uid": metadata["uid"]}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "labels": {labels.MANAGED_BY: "shipway"}, "ownerReferences": [owner]},
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {POD_LABEL: metadata["name"]}},
        },
    }
    try:
        api.post(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets", budget)
    except ApiError as error:
        if error.status != 409:  # it is there already
            raise explain(error, f"PodDisruptionBudget {name}", namespace) from error


def _digest(service: dict[str, Any]) -> str | None:
    return (service["metadata"].get("annotations") or {}).get(labels.SPEC_HASH)


def _settled(api: Api, path: str) -> dict[str, Any] | None:
    """The service, once one that is being deleted is gone."""
    until = time.monotonic() + GONE_S
    while True:
        present = api.find(path)
        if present is None or "deletionTimestamp" not in present["metadata"] or time.monotonic() > until:
            return present
        time.sleep(POLL_S)


def _over(present: dict[str, Any], made: Manifest) -> dict[str, Any]:
    """The new spec over the present object: annotations of others stay, their changes meanwhile are a conflict."""
    metadata = present["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "resourceVersion", "finalizers") if key in metadata}
    for field in ("labels", "annotations"):
        kept[field] = {**(metadata.get(field) or {}), **made["metadata"][field]}
    return {**made, "metadata": kept}


def _not_ready(api: Api, handle: Handle, service: dict[str, Any]) -> str:
    """What the endpoint waits for; empty when the present spec serves alone."""
    status, metadata = service.get("status") or {}, service["metadata"]
    if int(status.get("observedGeneration") or 0) < int(metadata.get("generation") or 0):
        return "KServe has not seen it yet"
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    ready = conditions.get("Ready") or {}
    if ready.get("status") != "True":
        return str(ready.get("message") or ready.get("reason") or "not ready yet")
    deployment = api.find(f"/apis/apps/v1/namespaces/{handle.namespace}/deployments/{handle.name}-predictor")
    if deployment is None:  # Knative's mode: its revision is what Ready means
        return ""
    # KServe's Ready may still be that of the version before.
    # The autoscaler may not have raised a new Deployment to the asked minimum yet.
    asked = int(service["spec"]["predictor"].get("minReplicas") or 1)
    wanted, now = max(asked, int(deployment["spec"].get("replicas") or 1)), deployment.get("status") or {}
    if int(now.get("observedGeneration") or 0) < int(deployment["metadata"]["generation"]):
        return "its Deployment is being changed"
    if _asked(service) != _deployed(deployment):
        return "its Deployment still has the version before"
    counts = [int(now.get(key) or 0) for key in ("updatedReplicas", "availableReplicas", "replicas")]
    if counts != [wanted] * 3:
        return f"{counts[0]} of {wanted} replicas are new, {counts[1]} available, {counts[2] - counts[0]} old ones left"
    return ""


def _asked(service: dict[str, Any]) -> list[str]:
    containers = service["spec"]["predictor"].get("containers") or [{}]
    return [str(containers[0].get("image")), *(containers[0].get("args") or [])]


def _deployed(deployment: dict[str, Any]) -> list[str]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    main = next((each for each in containers if each["name"] == "kserve-container"), containers[0])
    return [str(main.get("image")), *(main.get("args") or [])]


def _failure(api: Api, handle: Handle, service: dict[str, Any]) -> ReplicaFailure | None:
    """A new pod that will hardly come up."""
    asked = _asked(service)
    for pod in _pods(api, handle):
        if _deployed({"spec": {"template": pod}}) != asked:
            continue
        state = pod_state(pod)
        age_s = api.now() - seconds_of(pod["metadata"]["creationTimestamp"])
        if state.waiting == "CrashLoopBackOff" and state.start >= CRASHES:
            lines = list(state.last_lines) or _last_lines(api, handle)
            before = last_start(pod)
            return ReplicaFailure(state.replica, before.exit_code if before else None, "CrashLoopBackOff", lines)
        if state.waiting in STUCK_S and age_s > STUCK_S[state.waiting]:
            return ReplicaFailure(state.replica, None, state.waiting, [state.message] if state.message else [])
    return None


def _pods(api: Api, handle: Handle) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get(PODS.path(handle.namespace), labelSelector=f"{POD_LABEL}={handle.name}")[
        "items"
    ]
    return items


def _last_lines(api: Api, handle: Handle) -> list[str]:
    for pod in _pods(api, handle):
        path = PODS.path(handle.namespace, pod["metadata"]["name"]) + "/log"
        container = pod_state(pod).container  # unnamed, a pod with a mesh's container has no log at all
        for previous in ("true", "false"):
            query = {"container": container, "tailLines": str(LAST_LINES), "previous": previous}
            try:
                return list(api.lines(path, query))
            except ApiError:
                continue
    return []


def _url(api: Api, handle: Handle) -> str:
    """Where the service is reached from here: by name inside the cluster, by its address from a node outside."""
    name = f"{handle.name}-predictor"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return f"http://{name}.{handle.namespace}.svc"
    service = api.find(f"/api/v1/namespaces/{handle.namespace}/services/{name}")
    if service is None:
        raise InvalidSpec(f"KServe made no Service {name}; only its Standard mode is supported here", field=handle.name)
    spec = service["spec"]
    if spec.get("clusterIP") in (None, "", "None"):
        return f"http://{name}.{handle.namespace}.svc"
    return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"
