"""MPIJobs of two operators: which of them a cluster has, and the same job for either.

The training operator serves kubeflow.org/v1 and starts ranks by `kubectl exec`; the MPI operator serves v2beta1 and
starts them over ssh. Both own one CRD, so a cluster has one or the other. Our manifests are written as v1 wherever they
are rendered: a job's name and spec hash do not depend on the cluster that plays it. Facts about v2beta1 are those of
the MPI operator 0.6 (`pkg/controller/mpi_job_controller.go`).
"""

from __future__ import annotations

import copy
from typing import Any

from shipway import images, labels
from shipway.errors import InvalidSpec, NotFound
from shipway.executors.base import Manifest
from shipway.executors.kubernetes.api import Api, ApiError
from shipway.executors.kubernetes.installs import TRAINING

GROUP = "kubeflow.org"
V1, V2 = f"{GROUP}/v1", f"{GROUP}/v2beta1"
# sshd as the MPI operator starts it, once the container's environment lies where ranks find it (shipway.training.rank):
# sshd hands it to no session, and writes its own title over what /proc would show of it.
SSHD = ["sh", "-c", f"umask 077; env -0 > {images.SSH_ENVIRONMENT}; exec /usr/sbin/sshd -De"]
_V1_ONLY = ("cleanPodPolicy", "mainContainer")  # of the spec


def as_served(api: Api, manifest: Manifest) -> Manifest:
    """The manifest in the version of MPIJob that the cluster serves; an Experiment's trials too, others as they are.

    Where both versions are served, the one that the manifest is written in.

    Raises:
        NotFound: the cluster serves no MPIJob.
        InvalidSpec: it serves the other version only, and the manifest does not say that it may be played so.
    """
    trial = _trial(manifest)
    if trial is not None:
        changed = copy.deepcopy(manifest)
        changed["spec"]["trialTemplate"]["trialSpec"] = as_served(api, trial)
        return changed
    if manifest.get("kind") != "MPIJob":
        return manifest
    asked, versions = str(manifest["apiVersion"]), served(api)
    if versions is None or asked in versions:
        return manifest
    name = (manifest.get("metadata") or {}).get("name") or "of the trial template"
    if not versions:
        raise NotFound(
            f"this cluster serves none ({V1} by the training operator, {V2} by the MPI operator)",
            field=f"MPIJob {name}",
            fix=f"install one: {TRAINING}; or train with strategy multi_worker, which is a TFJob",
        )
    if asked == V1 and _notes(manifest).get(labels.SSH_AUTH):
        return as_v2beta1(manifest)
    raise InvalidSpec(
        f"MPIJob {name} is {asked}, this cluster serves {', '.join(versions)}",
        field="apiVersion",
        fix=(
            "write it in that version, or annotate a v1 job whose image runs sshd with "
            f"{labels.SSH_AUTH}: the folder where sshd looks for its keys"
        ),
    )


def served(api: Api) -> list[str] | None:
    """The versions in which the cluster serves MPIJobs, v1 first; None: we may not ask."""
    versions = []
    try:
        for version in (V1, V2):
            resources = (api.find(f"/apis/{version}") or {}).get("resources") or []
            if any(resource["name"] == "mpijobs" for resource in resources):
                versions.append(version)
    except ApiError as error:
        if error.status == 403:
            return None
        raise
    return versions


def as_v2beta1(manifest: Manifest) -> Manifest:
    """The MPI operator's form of an MPIJob v1 with `labels.SSH_AUTH`.

    The launcher comes when the workers' sshd listen, as a batch Job: it gets a pod for each try, so that the log of
    one that failed stays, and backoffLimit counts them. What stands in runPolicy stays there.
    """
    made = copy.deepcopy(manifest)
    made["apiVersion"] = V2
    spec: dict[str, Any] = made["spec"]
    policy = spec.setdefault("runPolicy", {})
    if spec.get("cleanPodPolicy"):
        policy.setdefault("cleanPodPolicy", spec["cleanPodPolicy"])
    for field in _V1_ONLY:
        spec.pop(field, None)
    policy.pop("managedBy", None)  # it names the training operator
    spec["sshAuthMountPath"] = _notes(manifest)[labels.SSH_AUTH]
    spec["launcherCreationPolicy"] = "WaitForWorkersReady"
    roles = spec["mpiReplicaSpecs"]
    roles["Launcher"]["restartPolicy"] = "Never"
    worker = roles["Worker"]
    account = worker["template"]["spec"].get("serviceAccountName")
    if account:  # over ssh the launcher needs no account of the operator's
        roles["Launcher"]["template"]["spec"].setdefault("serviceAccountName", account)
    if worker.get("restartPolicy") not in ("Never", "OnFailure"):
        worker["restartPolicy"] = "OnFailure"
    container = worker["template"]["spec"]["containers"][0]
    if not container.get("command") and not container.get("args"):
        container["command"] = list(SSHD)
        # Asked until sshd listens and then never again: it logs every connection.
        listens = {"tcpSocket": {"port": images.SSH_PORT}, "periodSeconds": 1, "failureThreshold": 60}
        container.setdefault("startupProbe", listens)
    return made


def _trial(manifest: Manifest) -> Manifest | None:
    """The MPIJob that an Experiment's trials are."""
    if manifest.get("kind") != "Experiment":
        return None
    trial = ((manifest.get("spec") or {}).get("trialTemplate") or {}).get("trialSpec")
    return trial if isinstance(trial, dict) and trial.get("kind") == "MPIJob" else None


def _notes(manifest: Manifest) -> dict[str, Any]:
    return (manifest.get("metadata") or {}).get("annotations") or {}
