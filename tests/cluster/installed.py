"""A namespace with the overlay `dev`, and jobs that cost nothing: for the tests of manifests/."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipway.context import Context
from shipway.executors import Manifest
from shipway.executors.kubernetes import KubernetesExecutor
from shipway.executors.kubernetes.api import Api
from shipway.executors.kubernetes.kinds import Kind
from shipway.executors.kubernetes.permissions import LAUNCHER
from tests.cluster import faults, overlays, workloads
from tests.cluster.bed import Bed
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures.kubernetes_rig import IMAGE
from tests.fixtures.manifests import SLEEP, wait_for

REAPER = "shipway-reaper"


@dataclass(frozen=True)
class Installed:
    """A namespace with the overlay `dev`."""

    kubectl: Kubectl
    namespace: str
    store_uri: str
    objects: list[dict[str, Any]]

    def account(self, name: str, *, without: tuple[str, str] = ("", "")) -> str:
        """Token of a fresh account that has the launcher's Role, less one verb on one resource."""
        role = overlays.role(self.objects, "shipway-launcher")
        role["metadata"] = {"name": name, "namespace": self.namespace}
        role["rules"] = [
            {"apiGroups": [each.group], "resources": [each.resource], "verbs": verbs}
            for each in LAUNCHER
            if (verbs := [verb for verb in each.verbs if (each.resource, verb) != without])
        ]
        self.kubectl.apply(document=role)
        self.kubectl("create", "serviceaccount", name, "-n", self.namespace)
        account = f"--serviceaccount={self.namespace}:{name}"
        self.kubectl("create", "rolebinding", name, f"--role={name}", account, "-n", self.namespace)
        return self.token(name)

    def token(self, name: str) -> str:
        return self.kubectl("create", "token", name, "-n", self.namespace).strip()

    def reap(self) -> str:
        """What the CronJob's own pod prints, run once and now."""
        name = fresh()
        self.kubectl("create", "job", f"--from=cronjob/{REAPER}", name, "-n", self.namespace)
        job = ("job", name, "-n", self.namespace)
        status = wait_for(lambda: _ended(self.kubectl.get(*job)["status"]), "the reaper ends")
        said = self.kubectl("logs", f"job/{name}", "-n", self.namespace)
        assert status.get("succeeded") == 1, said
        return said

    def tells_a_step(self, bed: Bed, home: Path) -> dict[str, str]:
        """Variables of a step that runs here: what its image and its pod would tell it."""
        return {
            **bed.store_environment, "SHIPWAY_STORE": self.store_uri, "KUBECONFIG": str(bed.kubeconfig),
            "SHIPWAY_EXECUTOR": "kubernetes", "SHIPWAY_RUN": "r", "SHIPWAY_NAMESPACE": self.namespace,
            "SHIPWAY_HOME": str(home),
        }  # fmt: skip

    def executor(self, token: str, home: Path) -> KubernetesExecutor:
        context = Context(home, self.store_uri, "run", "kubernetes", self.namespace)
        return KubernetesExecutor(context, Api(lambda: faults.client_with(token)))


def _ended(status: dict[str, Any]) -> dict[str, Any]:
    """The status of a batch Job that has ended; empty before."""
    return status if status.get("succeeded") or status.get("failed") else {}


def job(kind: Kind, name: str, code: str = SLEEP, *, suspended: bool = True) -> Manifest:
    """A job of one kind; suspended, it costs nothing."""
    containers = {"TFJob": "tensorflow", "MPIJob": "mpi", "Job": "main"}
    resources = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    main = workloads.container(code, containers[kind.name], IMAGE, resources=resources)
    pod = {"terminationGracePeriodSeconds": 1, "containers": [main]}
    spec: dict[str, Any] = {"suspend": suspended}
    if kind.name == "Job":
        spec["template"] = {"spec": {**pod, "restartPolicy": "Never"}}
    else:
        roles = ("Chief",) if kind.name == "TFJob" else ("Launcher", "Worker")
        replica = {"replicas": 1, "restartPolicy": "Never", "template": {"spec": pod}}
        spec = {"runPolicy": {"cleanPodPolicy": "None", **spec}, kind.replicas: dict.fromkeys(roles, replica)}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": spec}


def fresh() -> str:
    return f"x-{uuid.uuid4().hex[:8]}"
