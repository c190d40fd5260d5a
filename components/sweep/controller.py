"""Katib's Experiment on this machine: a sweep of ours, each of whose trials plays a manifest.

    python -m shipway.components.sweep.controller

A job of one replica stands in for Katib's controller, so that an Experiment is ensured, followed and cancelled like
any job: the engine ends with it, the runners with the engine, and a trial's job with its runner.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from shipway import executors, images
from shipway.components.sweep.calls import CALL, TRIAL, WORKER, Call, value_text
from shipway.errors import InvalidSpec, ShipwayError
from shipway.executors import Manifest

EXPERIMENT = "SHIPWAY_EXPERIMENT"
MODULE = "shipway.components.sweep.controller"
LEADERS = ("launcher", "chief", "master", "worker")


def job(manifest: Manifest, check: Callable[[Manifest], object]) -> Manifest:
    """The TFJob of one replica that plays an Experiment.

    Args:
        manifest: The Experiment.
        check: Raises for a trial's manifest that cannot be played.

    Raises:
        InvalidSpec: names the path of the field that is wrong or cannot be honoured here.
    """
    from shipway.components.sweep import core, experiment

    read = experiment.read(manifest)
    middle = core.defaults(read.spec, None)
    values = {name: middle[reference] for name, reference in read.parameters.items()}
    try:
        check(trial_manifest(json.dumps(read.template), read.name, values))
    except InvalidSpec as error:
        raise InvalidSpec(str(error), field="spec.trialTemplate.trialSpec") from error
    return _one_replica(
        manifest["metadata"], ["python", "-m", MODULE], EXPERIMENT, json.dumps(manifest, sort_keys=True)
    )


def _one_replica(metadata: Mapping[str, Any], command: list[str], variable: str, value: str) -> Manifest:
    container: dict[str, Any] = {
        "name": "tensorflow",
        "image": images.TENSORFLOW,
        "command": command,
        "env": [{"name": variable, "value": value.replace("$", "$$")}],  # which Kubernetes would expand
    }
    replica = {"replicas": 1, "restartPolicy": "Never", "template": {"spec": {"containers": [container]}}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": metadata,
        "spec": {"runPolicy": {"backoffLimit": 0}, "tfReplicaSpecs": {"Chief": replica}},
    }


def play(manifest: Manifest) -> None:
    """Plays an Experiment, and leaves record and report in `sweeps/<name>`.

    Raises:
        JobFailed: more trials failed than `maxFailedTrialCount` allows, or none gave the objective.
    """
    from shipway.components.sweep import experiment
    from shipway.components.sweep.page import publish
    from shipway.components.sweep.play import play as play_sweep
    from shipway.components.sweep.summary import describe_trial
    from shipway.context import Context

    read = experiment.read(manifest)
    if read.notes:
        print(f"not applied here: {', '.join(read.notes)}", flush=True)
    uri, spec = Context.current().uri("sweeps", read.name), read.spec
    names = [parameter.name for parameter in spec.parameters]
    document = {
        "template": json.dumps(read.template),
        "sweep": read.name,
        "trial": {"$param": TRIAL},
        "values": {name: {"$param": reference} for name, reference in read.parameters.items()},
        "formats": read.formats,
        "objective": spec.objective.objectiveMetricName,
    }
    call = Call(f"{MODULE}:run_trial", document, dict.fromkeys(names))
    record = play_sweep(
        spec,
        read.name,
        uri,
        {"experiment": manifest["spec"]},
        lambda runner: _one_replica({"name": runner}, [*WORKER, "packed", uri, runner], CALL, call.to_json()),
        first=None,
        slots=min(spec.parallelTrialCount, spec.maxTrialCount),
    )
    publish(record, uri)
    best = next(trial for trial in record.trials if trial.number == record.best_trial)
    print(f"best: {describe_trial(best, spec)}\nreport: {uri}/report.html", flush=True)


def run_trial(document: Mapping[str, Any], report: Callable[[int, dict[str, float]], bool]) -> dict[str, float]:
    """One trial: plays its manifest; its metrics are what the first replica prints, as Katib's collector reads them.

    Args:
        document: `template` (JSON), the `values` of its parameters, `sweep` and `trial` (its name), `formats` (regular
            expressions), `objective`.
        report: Told at each appearance of the objective, counted from 1; False ends the trial's job.

    Returns:
        Every metric's last value.

    Raises:
        InvalidSpec: a field of the manifest is wrong, or cannot be honoured here.
        JobFailed: which replica failed first, and how.
    """
    executor = executors.current()
    manifest = trial_manifest(document["template"], f"{document['sweep']}-{document['trial']}", document["values"])
    handle = executor.ensure(manifest)
    lines = (line.text for line in executor.logs(handle, replica=_first_replica(manifest), follow=True))
    last: dict[str, float] = {}
    step = 0
    for metric, value in metrics_in(lines, document["formats"]):
        last[metric] = value
        if metric == document["objective"]:
            step += 1
            if not report(step, dict(last)):
                executor.cancel(handle)
                return last
    executors.raise_for(executor.follow(handle), handle)
    return last


def trial_manifest(template: str, name: str, values: Mapping[str, Any]) -> Manifest:
    """One trial's manifest, its parameters replaced as text, as Katib does.

    Args:
        template: The trialSpec as JSON.
        name: The trial's.
        values: Trial parameter -> its value.
    """
    for parameter, value in values.items():
        # Escaped, since a value may stand in a JSON text that is itself a string of the manifest.
        template = template.replace(f"${{trialParameters.{parameter}}}", json.dumps(value_text(value))[1:-1])
    manifest: Manifest = json.loads(template)
    manifest.setdefault("metadata", {})["name"] = name
    return manifest


def metrics_in(lines: Iterable[str], formats: Iterable[str]) -> Iterator[tuple[str, float]]:
    """Metrics as they are printed.

    Args:
        lines: Standard output.
        formats: Regular expressions, name and value in the first two groups.
    """
    patterns = [re.compile(text) for text in formats]
    for line in lines:
        for pattern in patterns:
            for match in pattern.finditer(line):
                try:
                    yield match[1], float(match[2])
                except ValueError:
                    continue  # Katib's filter also matches an empty value


def _first_replica(trial: Manifest) -> str:
    """The replica that Katib's collector stands beside."""
    spec = trial["spec"]
    roles = {role.lower() for role in spec.get("tfReplicaSpecs") or spec.get("mpiReplicaSpecs") or {}}
    return next((f"{role}-0" for role in LEADERS if role in roles), "pod-0")


def main() -> int:
    """Exit code of a run."""
    try:
        play(json.loads(os.environ[EXPERIMENT]))
    except ShipwayError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
