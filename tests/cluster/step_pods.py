"""A step of ours in a pod of its own, as Kubeflow Pipelines starts it: `train.job` by the command that kfp compiled."""

from __future__ import annotations

import functools
import json
import os
import signal
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shipway import images, labels
from shipway.artifacts import DatasetManifest
from shipway.executors.kubernetes.rendering import JOB
from shipway.executors.kubernetes.states import job_state
from tests.cluster.bed.errors import BedError
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures import kfp_parent

ACCOUNT = "pipeline-runner"
FOLDERS = {"tmp": "/tmp", "home": "/home/shipway", "s3": "/s3"}  # what the image, and KFP, want to write
DATASET = "s3://shipway/inputs/dataset"


@dataclass
class StepPod:
    """One attempt of a step.

    Attributes:
        run: KFP's run id; equal for a retried step, whose pod is another.
        name: The pod's.
        grace_s: How long the container outlives KFP's launcher.
    """

    kubectl: Kubectl
    namespace: str
    grace_s: float = 0.02
    run: str = field(default_factory=lambda: f"run-{uuid.uuid4().hex[:8]}")
    name: str = field(default_factory=lambda: f"step-{uuid.uuid4().hex[:8]}")

    def start(self, dataset: DatasetManifest, training: dict[str, Any]) -> StepPod:
        """Creates the pod; it trains on the dataset by a TrainingSpec."""
        files = {"dataset.json": dataset.to_json(), "parent.py": Path(kfp_parent.__file__).read_text(encoding="utf-8")}
        metadata = {"name": self.name, "namespace": self.namespace}
        self.kubectl.apply(document={"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files})
        self.kubectl.apply(document=self._pod(json.dumps(training)))
        return self

    def again(self) -> StepPod:
        """The same step of the same run, retried: not started yet."""
        return StepPod(self.kubectl, self.namespace, self.grace_s, self.run)

    def jobs(self) -> list[dict[str, Any]]:
        """TFJobs of the run."""
        found: list[dict[str, Any]] = self.kubectl.get(
            "tfjobs", "-n", self.namespace, "-l", f"{labels.RUN}={self.run}"
        )["items"]
        return found

    def states(self) -> dict[str, str]:
        """State of each of the run's jobs, by name."""
        return {job["metadata"]["name"]: job_state(job)[0] for job in self.jobs()}

    def replicas(self) -> dict[str, str]:
        """Phase of each pod of the run's jobs that holds what it asked for: pods that have ended hold nothing."""
        pods = self.kubectl.get("pods", "-n", self.namespace, "-l", JOB)["items"]
        ours = {"name": "SHIPWAY_RUN", "value": self.run}
        phases = {
            pod["metadata"]["name"]: pod["status"].get("phase", "Pending")
            for pod in pods
            if ours in pod["spec"]["containers"][0]["env"]
        }
        return {name: phase for name, phase in phases.items() if phase in ("Pending", "Running")}

    def terminate(self) -> None:
        """SIGTERM for the container's first process, as Argo sends it when a run is cancelled."""
        os.kill(next(pid for pid in self._pids() if _number_inside(pid) == 1), signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL for the step, as the kernel kills when memory is short."""
        os.kill(
            next(pid for pid in self._pids() if "python3 -m kfp.dsl.executor_main" in _command(pid)), signal.SIGKILL
        )

    def log(self) -> str:
        """What the step printed, for a failed assertion."""
        try:
            return self.kubectl("logs", self.name, "-n", self.namespace, "--tail=40")
        except BedError as error:  # its pod is gone
            return str(error)

    # -- private ---------------------------------------------------------------------------------------------------

    def _pids(self) -> list[int]:
        """Host processes of the container: the bed's node is this machine."""
        mark = f"KFP_POD_NAME={self.name}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                variables = path.read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            if mark in variables:
                found.append(int(path.parent.name))
        return sorted(found)

    def _pod(self, training: str) -> dict[str, Any]:
        path = "/s3" + DATASET.removeprefix("s3:/")
        fields = {"KFP_POD_NAME": "metadata.name", "KFP_POD_UID": "metadata.uid"}
        environment: list[dict[str, Any]] = [
            {"name": key, "valueFrom": {"fieldRef": {"fieldPath": value}}} for key, value in fields.items()
        ]
        environment.append({"name": kfp_parent.INPUTS, "value": json.dumps({path: "/step/dataset.json"})})
        given = json.dumps(_executor_input(self.run, training))
        command = [given if word == "{{$}}" else word for word in _compiled()]
        container = {
            "name": "main",
            "image": images.LAUNCHER,
            "command": ["python", "/step/parent.py", "--grace_s", str(self.grace_s)],
            "args": ["--execution_id", "7", "--", *command],
            "env": environment,
            "envFrom": [{"secretRef": {"name": "shipway-store"}}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                                "readOnlyRootFilesystem": True},
            "volumeMounts": [{"name": name, "mountPath": path} for name, path in FOLDERS.items()]
            + [{"name": "step", "mountPath": "/step"}],
        }  # fmt: skip
        volumes: list[dict[str, Any]] = [{"name": name, "emptyDir": {}} for name in FOLDERS]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": {"pipeline/runid": self.run}},
            "spec": {
                "serviceAccountName": ACCOUNT,
                "restartPolicy": "Never",
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [container],
                "volumes": [*volumes, {"name": "step", "configMap": {"name": self.name}}],
            },
        }


def gone(step: StepPod) -> bool:
    """Whether nothing of the run's jobs holds anything any more: none runs, and no replica does."""
    ended = all(state in ("Succeeded", "Failed") for state in step.states().values())
    return ended and not step.replicas()


@functools.cache
def _compiled() -> list[str]:
    """Command and arguments of `train.job`'s container, as kfp writes them into a pipeline."""
    from kfp import compiler

    from shipway.components.train.component import job

    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "job.yaml"))
        compiler.Compiler().compile(job, file)
        document = next(yaml.safe_load_all(Path(file).read_text(encoding="utf-8")))
    container = document["deploymentSpec"]["executors"]["exec-job"]["container"]
    return [*container["command"], *container["args"]]


def _executor_input(run: str, training: str) -> dict[str, Any]:
    """What KFP's driver hands to a step: parameters, and where its artifacts lie."""
    root = f"s3://shipway/outputs/{run}"

    def artifact(name: str, title: str, uri: str) -> dict[str, Any]:
        kind = {"schemaTitle": f"system.{title}", "schemaVersion": "0.0.1"}
        return {"artifacts": [{"name": name, "uri": uri, "type": kind, "metadata": {}}]}

    outputs = {"model": "Model", "metrics": "Metrics", "mlpipeline_ui_metadata": "Artifact"}
    return {
        "inputs": {
            "parameterValues": {"spec": training, "best": "", "code_fingerprint": "", "task_config": {}},
            "artifacts": {"dataset": artifact("dataset", "Dataset", DATASET)},
        },
        "outputs": {
            "artifacts": {name: artifact(name, title, f"{root}/{name}") for name, title in outputs.items()},
            "outputFile": "/tmp/kfp/output.json",
        },
    }


def _number_inside(pid: int) -> int:
    """The process's number in its own container."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
