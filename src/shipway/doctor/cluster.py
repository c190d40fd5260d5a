"""What a cluster has for Shipway, what is missing, and the command that mends it: `shipway doctor --cluster`.

Nothing is changed there but by the last checks, which start two pods and delete them again; they are left out when what
they need was found missing. Who asks may see less than an admin: what is hidden is said, and is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shipway.doctor import Finding
from shipway.doctor.checkup import PIPELINE, Check, Checkup
from shipway.errors import ShipwayError

PATIENCE_S = 4.0  # a cluster that does not answer is a finding


def examine(
    namespace: str = "", account: str = "", image: str = "", gpus: int = 0, pipeline: str = ""
) -> list[Finding]:
    """Everything, in the order in which it is to be mended; only the first where nobody answers."""
    return list(_findings(namespace, account=account, image=image, gpus=gpus, pipeline=pipeline or PIPELINE))


def _findings(namespace: str, **given: Any) -> Iterator[Finding]:
    from shipway.context import Context
    from shipway.executors.kubernetes.api import Api

    try:
        checkup = Checkup(Api(patience_s=PATIENCE_S), namespace or Context.current().namespace, **given)
        yield from _who(checkup)
        yield from _namespace(checkup)
    except ShipwayError as error:
        yield Finding("cluster", "missing", _line(error), "kubectl config get-contexts && kubectl auth whoami")
        return
    if not checkup.can_start:
        return
    for what, check in _checks():
        yield from _tried(what, check, checkup)


def _checks() -> tuple[tuple[str, Check], ...]:
    from shipway.doctor import (
        access,
        artifacts,
        compiled,
        kfp,
        operators,
        pods,
        profiles,
        protections,
        trials,
        versions,
    )

    return (
        ("kinds", operators.kinds),
        ("operators", operators.running),
        ("KServe's mode", operators.serving_mode),
        ("versions", versions.versions),
        ("KFP settings", kfp.settings),
        ("profile", profiles.profile),
        ("accounts", access.accounts),
        ("permissions", access.permissions),
        ("pipeline", compiled.pipeline),
        ("storage Secret", access.secrets),
        ("KFP artifacts", artifacts.artifacts),
        ("reaper", access.reaper),
        ("admission policies", protections.admission),
        ("accounts' rights", protections.rights),
        ("tokens", protections.tokens),
        ("network policies", protections.network),
        ("keys of replicas", protections.keys),
        ("GPUs", trials.gpus),
        ("webhooks", trials.webhooks),
        (pods.REPLICA, pods.replica),
        (pods.STEP, pods.step),
    )


def _tried(what: str, check: Check, checkup: Checkup) -> Iterator[Finding]:
    """A check's findings; what may not be seen is said, what fails is a finding."""
    from shipway.executors.kubernetes.api import ApiError

    try:
        yield from check(checkup)
    except ApiError as error:
        if error.status == 403:
            yield Finding(what, "info", f"not visible to {checkup.user}; an admin can look")
        else:
            yield Finding(what, "missing", _line(error), f"kubectl get events -n {checkup.namespace}")
    except ShipwayError as error:
        yield Finding(what, "missing", _line(error), "kubectl cluster-info")


def _who(checkup: Checkup) -> Iterator[Finding]:
    version = checkup.api.get("/version").get("gitVersion", "")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = checkup.api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    checkup.user = answer["status"]["userInfo"]["username"]
    yield Finding("cluster", "ok", f"Kubernetes {version} at {checkup.api.host}, as {checkup.user}")


def _namespace(checkup: Checkup) -> Iterator[Finding]:
    from shipway.executors.kubernetes import mpi
    from shipway.executors.kubernetes.api import ApiError

    try:
        existing = checkup.api.find(f"/api/v1/namespaces/{checkup.namespace}")
    except ApiError as error:
        if error.status != 403:
            raise
        yield Finding("namespace", "info", f"{checkup.namespace}, which {checkup.user} may not look at")
        return
    if existing is None:
        checkup.can_start = False
        yield Finding(
            "namespace",
            "missing",
            f"{checkup.namespace!r}: there is none; SHIPWAY_NAMESPACE or --namespace names another",
            f"kubectl create namespace {checkup.namespace}",
        )
    elif "deletionTimestamp" in existing["metadata"]:
        checkup.can_start = False
        name = checkup.namespace
        yield Finding(
            "namespace", "missing", f"{name!r} is being deleted", f"kubectl wait --for=delete namespace/{name}"
        )
    else:
        level = (existing["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce", "")
        if level == "restricted" and mpi.V1 in (mpi.served(checkup.api) or []):
            yield Finding(
                "namespace",
                "warn",
                f"{checkup.namespace} enforces Pod Security {level}: the launcher of an MPIJob {mpi.V1} is refused "
                "(the training operator's container in it runs as root); the MPI operator's v2beta1 would be admitted",
                f"kubectl label --overwrite namespace {checkup.namespace} pod-security.kubernetes.io/enforce=baseline",
            )
        else:
            yield Finding("namespace", "ok", checkup.namespace)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
