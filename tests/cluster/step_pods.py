"""A step of ours in a pod of its own: that of `train.job` in the compiled pipeline, as Kubeflow Pipelines starts it."""

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

from shipway import labels
from shipway.artifacts import DatasetManifest
from shipway.compiling import compile_pipeline
from shipway.executors.kubernetes.rendering import JOB
from shipway.executors.kubernetes.states import job_state
from shipway.step_pod import executors, step_pod
from tests.cluster.bed.errors import BedError
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures import kfp_parent

ACCOUNT = "pipeline-runner"
EXECUTOR = "exec-job"
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
            next(pid for pid in self._pids() if "python3 -m kfp.dsl.executor_main" in _words_of(pid)), signal.SIGKILL
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
        """The pod of the compiled pipeline's task, with what stands in for KFP's launcher put on top."""
        given = json.dumps(_executor_input(self.run, training))
        words = [given if word == "{{$}}" else word for word in _command(_compiled())]
        parent = ["python", "/step/parent.py", "--grace_s", str(self.grace_s), "--execution_id", "7", "--", *words]
        pod = step_pod(
            _compiled(), executor=EXECUTOR, name=self.name, namespace=self.namespace, account=ACCOUNT,
            command=parent, run=self.run,
        )  # fmt: skip
        container = pod["spec"]["containers"][0]
        path = "/s3" + DATASET.removeprefix("s3:/")  # where the launcher puts what it has downloaded
        container["env"].append({"name": kfp_parent.INPUTS, "value": json.dumps({path: "/step/dataset.json"})})
        container["volumeMounts"].append({"name": "step", "mountPath": "/step"})
        pod["spec"]["volumes"].append({"name": "step", "configMap": {"name": self.name}})
        return pod


def gone(step: StepPod) -> bool:
    """Whether nothing of the run's jobs holds anything any more: none runs, and no replica does."""
    ended = all(state in ("Succeeded", "Failed") for state in step.states().values())
    return ended and not step.replicas()


@functools.cache
def _compiled() -> list[dict[str, Any]]:
    """IR and platform spec of the shipped pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        file = compile_pipeline("train_and_deploy", Path(folder, "pipeline.yaml"))
        return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def _command(documents: list[dict[str, Any]]) -> list[str]:
    """Command and arguments of `train.job`, as kfp writes them into the pipeline."""
    container = executors(documents)[EXECUTOR]
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


def _words_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
