"""What a job's object and its pods say, in our words: pure functions of what the API server gave."""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shipway import podsecurity
from shipway.executors.base import ReplicaFailure, State

LAST_LINES = 20
# Waiting reasons that seldom mend themselves, and how long they may last.
STUCK_S = {
    "ErrImagePull": 120.0,
    "ImagePullBackOff": 120.0,
    "InvalidImageName": 0.0,
    "ErrImageNeverPull": 0.0,
    "CreateContainerConfigError": 60.0,
    "CreateContainerError": 60.0,
    "RunContainerError": 60.0,
}
PULLING = ("ErrImagePull", "ImagePullBackOff")
SIDECARS = ("istio-proxy", "linkerd-proxy", "queue-proxy")
LOST_PEER = 143
# Why the cluster takes a pod away; an attempt that ends so uses up none of the limit.
DISRUPTIONS = (
    "Deleted", "DeletionByPodGC", "DeletionByTaintManager", "EvictionByEvictionAPI", "Evicted", "NodeLost",
    "PreemptionByScheduler", "TerminationByKubelet",
)  # fmt: skip


@dataclass(frozen=True)
class PodState:
    """One replica's pod.

    Attributes:
        phase: Pending, Running, Succeeded, Failed.
        waiting: Why it does not run: a container's reason, or Unschedulable; empty otherwise.
        message: Of `waiting`, or of the pod's end.
        exit_code: Of the container that decides; None while it runs.
        ended_at: Seconds since the epoch by the node's clock, 0 while it runs.
        is_leaving: It is being deleted.
        start: How often its container was started again in place.
        disrupted: Why the cluster took it away, EvictionByEvictionAPI for one: no fault of its own.
        container: The one that decides.
    """

    pod: str
    uid: str
    replica: str
    phase: str
    waiting: str = ""
    message: str = ""
    exit_code: int | None = None
    reason: str = ""
    last_lines: tuple[str, ...] = ()
    ended_at: float = 0.0
    is_leaving: bool = False
    start: int = 0
    node: str = ""
    disrupted: str = ""
    container: str = ""

    @property
    def has_failed(self) -> bool:
        return self.phase == "Failed" or self.exit_code not in (None, 0)


def job_state(job: Mapping[str, Any]) -> tuple[State, str]:
    """State and message of a TFJob, MPIJob, batch Job or Experiment."""
    conditions = {c["type"]: c for c in (job.get("status") or {}).get("conditions") or [] if c.get("status") == "True"}
    for ours, theirs in (("Succeeded", ("Succeeded", "Complete")), ("Failed", ("Failed",))):
        condition = next((conditions[name] for name in theirs if name in conditions), None)
        if condition is not None:
            return ours, str(condition.get("message") or condition.get("reason") or "")  # type: ignore[return-value]
    if "Suspended" in conditions:
        return "Suspended", str(conditions["Suspended"].get("message") or "")
    if "Running" in conditions or "Restarting" in conditions or (job.get("status") or {}).get("active"):
        return "Running", ""
    return "Pending", ""


def times(job: Mapping[str, Any]) -> tuple[float, float]:
    """When the job was started (else made) and when it ended, by the API server's clock; 0: it has not."""
    status = job.get("status") or {}
    started = status.get("startTime") or (job.get("metadata") or {}).get("creationTimestamp")
    return seconds_of(started), seconds_of(status.get("completionTime"))


def pod_state(pod: Mapping[str, Any]) -> PodState:
    """A replica's pod."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    main = _main_status(pod)
    state = main.get("state") or {}
    ended = state.get("terminated") or {}
    restarted = (main.get("lastState") or {}).get("terminated") or {}
    waiting, message = _waiting(status, state)
    termination = ended or (restarted if waiting == "CrashLoopBackOff" else {})
    code = ended.get("exitCode")
    return PodState(
        pod=metadata["name"],
        uid=metadata.get("uid", ""),
        replica=replica_of(metadata),
        phase=status.get("phase", "Pending"),
        waiting=waiting,
        message=message or str(status.get("message") or ""),
        exit_code=code,
        reason=_end_reason(status, ended),
        last_lines=tuple(str(termination.get("message") or "").rstrip("\n").split("\n")[-LAST_LINES:])
        if termination.get("message")
        else (),
        ended_at=seconds_of(ended.get("finishedAt")),
        is_leaving="deletionTimestamp" in metadata,
        start=int(main.get("restartCount") or 0),
        node=(pod.get("spec") or {}).get("nodeName", ""),
        disrupted=_disruption(status),
        container=_main_container(pod),
    )


def last_start(pod: Mapping[str, Any]) -> PodState | None:
    """How the start before the present one ended, of a container that was started again in place."""
    status = _main_status(pod)
    before = (status.get("lastState") or {}).get("terminated")
    if not before:
        return None
    main = {**status, "state": {"terminated": before}, "restartCount": int(status.get("restartCount", 1)) - 1}
    return pod_state({**pod, "status": {**pod["status"], "containerStatuses": [main]}})


def _main_container(pod: Mapping[str, Any]) -> str:
    """The container that does the work: the first that no mesh has put there."""
    names = [each["name"] for each in (pod.get("spec") or {}).get("containers") or []]
    return next((name for name in names if name not in SIDECARS), names[0] if names else "")


def _main_status(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its status; the kubelet lists them by name, not in the spec's order."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    name = _main_container(pod)
    return next((each for each in statuses if each.get("name") == name), statuses[0] if statuses else {})


def replica_of(metadata: Mapping[str, Any]) -> str:
    """`worker-1` of a pod, from the labels that its operator gave it."""
    pod_labels = metadata.get("labels") or {}
    role = (
        pod_labels.get("training.kubeflow.org/replica-type") or pod_labels.get("training.kubeflow.org/job-role") or ""
    )
    index = pod_labels.get("training.kubeflow.org/replica-index", "0")
    if role:
        return f"{role.lower()}-{index}"
    return "pod-0" if "batch.kubernetes.io/job-name" in pod_labels else str(metadata["name"])


def failure_of(pod: PodState) -> ReplicaFailure:
    """The failure that this pod stands for."""
    lines = list(pod.last_lines)
    reason = pod.disrupted or pod.reason or pod.waiting or "Error"
    return ReplicaFailure(pod.replica, pod.exit_code, reason, lines)


def seconds_of(text: Any) -> float:
    """Seconds since the epoch of an RFC 3339 time in UTC; 0 for none."""
    if not text:
        return 0.0
    return float(calendar.timegm(time.strptime(str(text)[:19], "%Y-%m-%dT%H:%M:%S")))


def _waiting(status: Mapping[str, Any], state: Mapping[str, Any]) -> tuple[str, str]:
    waiting = state.get("waiting") or {}
    if waiting.get("reason") and waiting["reason"] not in ("ContainerCreating", "PodInitializing"):
        message = str(waiting.get("message") or "")
        return waiting["reason"], f"{message}; {podsecurity.ADVICE}" if podsecurity.REFUSED in message else message
    for condition in status.get("conditions") or []:
        is_unplaced = condition.get("type") == "PodScheduled" and condition.get("status") == "False"
        if is_unplaced and condition.get("reason") == "Unschedulable":
            return "Unschedulable", str(condition.get("message") or "")
    return "", ""


def _disruption(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return str(condition.get("reason") or "Disrupted")
    return ""


def _end_reason(status: Mapping[str, Any], ended: Mapping[str, Any]) -> str:
    """Evicted, OOMKilled, Signal 9 (SIGKILL), Error; empty for what has not failed."""
    if status.get("reason"):  # of the pod as a whole: Evicted, NodeLost, DeadlineExceeded
        return str(status["reason"])
    code = ended.get("exitCode")
    if code in (None, 0):
        return ""
    given = str(ended.get("reason") or "Error")
    if given == "Error" and 128 < int(code) < 160:
        return signal_reason(int(code) - 128)
    return given


def signal_reason(number: int) -> str:
    """`Signal 9 (SIGKILL)`."""
    import signal

    try:
        return f"Signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"Signal {number}"
