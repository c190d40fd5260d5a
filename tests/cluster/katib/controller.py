"""A small stand-in for Katib's controller: real trials by the real operators, judged as Katib judges them.

What it does as Katib 0.19 does: parameters are replaced as text in the template's JSON; a trial has ended when the
template's condition matches its object's status; metrics are what the primary container of the pods with
`primaryPodLabels` printed, read by `metricsFormat`; the optimal trial is the best by the objective's strategy. What it
does not: suggest (it goes through the space from its middle), stop trials early, run trials side by side, keep Trial
objects.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

from shipway.executors.kubernetes.api import Api
from shipway.executors.kubernetes.kinds import PODS, kind_of

EXPERIMENTS = "/apis/kubeflow.org/v1beta1/namespaces/{}/experiments"
LOOK_S = 0.3
# gjson, as far as conditions of trials use it: a condition of this type whose status is True.
CONDITION = re.compile(r'status\.conditions\.#\(type=="(?P<type>\w+)"\)#\|#\(status=="True"\)#')
ENDS_OF_POD = {"training.kubeflow.org/job-name", "batch.kubernetes.io/job-name"}


class Controller:
    """Plays the Experiments of one namespace while it is open."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.trials: list[dict[str, Any]] = []  # what was created
        self.error: BaseException | None = None
        self._api, self._ended = Api(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Controller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)
        if self.error is not None:
            raise self.error

    # -- private ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ended.wait(LOOK_S):
                for found in self._api.get(EXPERIMENTS.format(self.namespace))["items"]:
                    if not _has(found, "Succeeded") and not _has(found, "Failed"):
                        self._play(found)
        except BaseException as error:  # noqa: BLE001 - told by the test that owns this thread
            self.error = error

    def _play(self, experiment: dict[str, Any]) -> None:
        spec = experiment["spec"]
        self._say(experiment, "Created", trials=0)
        done: list[tuple[str, dict[str, str], list[dict[str, str]]]] = []
        lost: list[str] = []
        for number, assigned in enumerate(points(spec["parameters"], spec["maxTrialCount"])):
            name = f"{experiment['metadata']['name']}-{number:08x}"
            self._say(experiment, "Running", trials=number + 1, runningTrialList=[name])
            metrics = self._trial(experiment, name, assigned)
            if metrics is None:
                lost.append(name)
            else:
                done.append((name, assigned, metrics))
            if self._ended.is_set():
                return
        objective = spec["objective"]
        kept = [each for each in done if value_of(each[2], objective) is not None]
        counts: dict[str, Any] = {
            "trials": len(done) + len(lost), "trialsSucceeded": len(kept), "trialsFailed": len(lost),
            "trialMetricsUnavailable": len(done) - len(kept), "succeededTrialList": [each[0] for each in kept],
            "failedTrialList": lost, "runningTrialList": [],
        }  # fmt: skip
        if kept:
            sign = 1 if objective["type"] == "maximize" else -1
            name, assigned, metrics = max(kept, key=lambda each: sign * (value_of(each[2], objective) or 0.0))
            pairs = [{"name": key, "value": value} for key, value in assigned.items()]
            counts["currentOptimalTrial"] = {
                "bestTrialName": name, "parameterAssignments": pairs, "observation": {"metrics": metrics},
            }  # fmt: skip
        failed = len(lost) + len(done) - len(kept) > spec.get("maxFailedTrialCount", 0)
        self._say(experiment, "Failed" if failed else "Succeeded", completionTime=_now(), **counts)

    def _trial(self, experiment: dict[str, Any], name: str, assigned: dict[str, str]) -> list[dict[str, str]] | None:
        """Creates a trial and waits for its end: its metrics, None where it failed."""
        template = experiment["spec"]["trialTemplate"]
        text = json.dumps(template["trialSpec"])
        for parameter in template["trialParameters"]:
            text = text.replace(f"${{trialParameters.{parameter['name']}}}", assigned[parameter["reference"]])
        made = json.loads(text)
        metadata = made.setdefault("metadata", {})
        owner = {"apiVersion": experiment["apiVersion"], "kind": "Experiment", "controller": True}
        owner |= {key: experiment["metadata"][key] for key in ("name", "uid")}
        metadata |= {"name": name, "namespace": self.namespace, "ownerReferences": [owner]}
        kind = kind_of(made)
        self.trials.append(self._api.post(kind.path(self.namespace), made))
        printed: dict[str, tuple[threading.Thread, list[str]]] = {}
        while not self._ended.wait(LOOK_S):
            found = self._api.find(kind.path(self.namespace, name)) or {}
            self._read_along(template, name, printed)
            if matches(template["failureCondition"], found):
                return None
            if matches(template["successCondition"], found):
                for thread, _ in printed.values():
                    thread.join(30)
                return metrics_of(experiment["spec"], [line for _, lines in printed.values() for line in lines])
        return None

    def _read_along(
        self, template: dict[str, Any], trial: str, printed: dict[str, tuple[threading.Thread, list[str]]]
    ) -> None:
        """Begins to read what the trial's primary pods print, as Katib's sidecar does: an operator may take a pod away
        in the moment in which its job has succeeded."""
        wanted = template.get("primaryPodLabels") or {}
        for pod in self._api.get(PODS.path(self.namespace))["items"]:
            metadata, labels = pod["metadata"], pod["metadata"].get("labels") or {}
            is_primary = any(labels.get(key) == trial for key in ENDS_OF_POD) and wanted.items() <= labels.items()
            if not is_primary or metadata["uid"] in printed or pod["status"].get("phase") == "Pending":
                continue
            lines: list[str] = []
            path = PODS.path(self.namespace, metadata["name"]) + "/log"
            query = {"container": template["primaryContainerName"], "follow": "true"}
            thread = threading.Thread(target=self._follow, args=(path, query, lines), daemon=True)
            printed[metadata["uid"]] = (thread, lines)
            thread.start()

    def _follow(self, path: str, query: dict[str, str], lines: list[str]) -> None:
        try:
            for line in self._api.lines(path, query):
                lines.append(line)
        except BaseException as error:  # noqa: BLE001 - told by the test that owns this object
            self.error = error

    def _say(self, experiment: dict[str, Any], condition: str, **more: Any) -> None:
        now = _now()
        so_far = ("Created", "Running", condition)[: 1 if condition == "Created" else 3]
        conditions = [
            {"type": each, "status": "True" if each in ("Created", condition) else "False",
             "reason": f"Experiment{each}", "message": f"Experiment is {each.lower()}", "lastUpdateTime": now,
             "lastTransitionTime": now}
            for each in dict.fromkeys(so_far)
        ]  # fmt: skip
        path = f"{EXPERIMENTS.format(self.namespace)}/{experiment['metadata']['name']}/status"
        self._api.patch(path, {"status": {"startTime": now, "conditions": conditions, **more}})


def points(parameters: list[dict[str, Any]], count: int) -> Iterator[dict[str, str]]:
    """Assignments as text: the middle of the space first, then towards its ends."""
    for number in range(count):
        share = 0.5 if number == 0 else number % 2 * (1 - 1 / (number + 2)) or 1 / (number + 2)
        yield {parameter["name"]: _at(parameter, share) for parameter in parameters}


def _at(parameter: dict[str, Any], share: float) -> str:
    space = parameter["feasibleSpace"]
    if "list" in space:
        return str(space["list"][int(share * len(space["list"]))])
    low, high = float(space["min"]), float(space["max"])
    value = low + share * (high - low)
    if parameter["parameterType"] == "int":
        step = int(space.get("step", "1"))
        return str(int(low) + round((value - low) / step) * step)
    return repr(value)


def reported(line: str, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values in a line that are numbers."""
    for pattern in found["metricsFormat"]:
        for match in re.finditer(pattern, line):
            try:
                float(match[2])
            except ValueError:
                continue
            yield match[1].strip(), match[2].strip()


def metrics_of(spec: dict[str, Any], lines: list[str]) -> list[dict[str, str]]:
    """What an observation holds of each metric; `unavailable` where no line reported it."""
    objective, found = spec["objective"], spec["metricsCollectorSpec"]["source"]["filter"]
    names = [objective["objectiveMetricName"], *objective.get("additionalMetricNames", [])]
    seen: dict[str, list[str]] = {name: [] for name in names}
    for line in lines:
        for metric, value in reported(line, found):
            if metric in seen:
                seen[metric].append(value)
    return [
        {"name": name, "latest": values[-1], "min": min(values, key=float), "max": max(values, key=float)}
        if values else {"name": name, "latest": "unavailable", "min": "unavailable", "max": "unavailable"}
        for name, values in seen.items()
    ]  # fmt: skip


def value_of(metrics: list[dict[str, str]], objective: dict[str, Any]) -> float | None:
    """The objective by its strategy; None: unavailable."""
    name = objective["objectiveMetricName"]
    strategy = next(each["value"] for each in objective["metricStrategies"] if each["name"] == name)
    text = next(each[strategy] for each in metrics if each["name"] == name)
    return None if text == "unavailable" else float(text)


def matches(condition: str, found: dict[str, Any]) -> bool:
    """Whether a trial's object meets a success or failure condition."""
    parsed = CONDITION.fullmatch(condition)
    assert parsed, f"the stand-in does not read {condition}"
    return _has(found, parsed["type"])


def _has(found: dict[str, Any], kind: str) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
