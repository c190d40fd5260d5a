"""A step of ours in a pod of its own, as Kubeflow Pipelines starts it: `train.job` of the pipeline that we ship.

The pod is what `shipway.step_pod` makes of the compiled pipeline. Added is only what stands in for KFP's launcher.
"""

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

from shipway import labels, step_pod
from shipway.artifacts import DatasetManifest
from shipway.compiling import compile_pipeline
from shipway.executors.kubernetes.rendering import JOB
from shipway.executors.kubernetes.states import job_state
from tests.cluster.bed.errors import BedError
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures import kfp_parent

ACCOUNT = "pipeline-runner"  # of the overlay
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
        task = step_pod.executors(_compiled())[EXECUTOR]
        given = json.dumps(_executor_input(self.run, training))
        launcher = ["python", "/step/parent.py", "--grace_s", str(self.grace_s), "--execution_id", "7"]
        launcher += ["--executor_input", given, "--input", "/s3" + DATASET.removeprefix("s3:/"), "/step/dataset.json"]
        pod = step_pod.step_pod(
            _compiled(), executor=EXECUTOR, name=self.name, namespace=self.namespace, account=ACCOUNT, run=self.run,
            command=[*launcher, "--", *task["command"], *task["args"]],
        )  # fmt: skip
        pod["spec"]["containers"][0]["volumeMounts"].append({"name": "step", "mountPath": "/step"})
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


def _executor_input(run: str, training: str) -> dict[str, Any]:
    """What KFP's driver hands to a step: parameters, and where its artifacts lie, as the component declares them."""
    component = _compiled()[0]["components"]["comp-job"]
    inputs, outputs = component["inputDefinitions"], component["outputDefinitions"]

    def artifacts(declared: dict[str, Any], root: str) -> dict[str, Any]:
        return {
            name: {"artifacts": [{"name": name, "uri": f"{root}/{name}", "type": each["artifactType"], "metadata": {}}]}
            for name, each in declared.items()
        }

    defaults = {name: each.get("defaultValue", {}) for name, each in inputs["parameters"].items()}
    return {
        "inputs": {
            "parameterValues": {**defaults, "spec": training},
            "artifacts": artifacts(inputs["artifacts"], DATASET.removesuffix("/dataset")),
        },
        "outputs": {
            "artifacts": artifacts(outputs["artifacts"], f"s3://shipway/outputs/{run}"),
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
