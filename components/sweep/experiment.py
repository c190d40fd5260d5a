"""Katib's Experiment (v1beta1): rendered from a SweepSpec, and read back to be played without Katib."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shipway.components.sweep import core
from shipway.components.sweep.algorithms import RUNGS
from shipway.components.sweep.calls import CALL, FOLDER, WORKER, Call, value_text
from shipway.components.sweep.nodes import node_variable
from shipway.components.sweep.spec import Parameter, SweepSpec
from shipway.components.train import core as train_core
from shipway.errors import InvalidSpec
from shipway.executors import Manifest
from shipway.specs import parse

API_VERSION = "kubeflow.org/v1beta1"
NAME_MAX = 40
# Katib's own default filter also takes `epoch=3`; two groups at the top level are what its webhook asks for.
FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
DONE = 'status.conditions.#(type=="{}")#|#(status=="True")#'
TRAINING = "SHIPWAY_TRAINING"
TRAIN = "shipway.training.trial:run_trial"
CALL_FUNCTION = "shipway.functions.calling:run_trial"
# Kind -> container and pod label of the pod whose output the collector reads.
_PRIMARY = {
    "TFJob": ("tensorflow", {"training.kubeflow.org/job-role": "master"}),
    "MPIJob": ("mpi", {"training.kubeflow.org/job-role": "launcher"}),
    "Job": ("trial", {}),
}


def runner_manifest(
    spec: SweepSpec, name: str, sweep_uri: str, dataset_uri: str, store_uri: str, threads: int
) -> Manifest:
    """The job of one runner: the trial's image and resources, and what a trial calls; parameters come through the
    sweep's folder, which names no code."""
    command = [*WORKER, "packed", sweep_uri, name]
    keeps = spec.algorithm.algorithmName in RUNGS
    return _single_worker(spec, name, store_uri, command, make_call(spec, dataset_uri, keeps), threads)


def trial_template(spec: SweepSpec, dataset_uri: str, store_uri: str) -> Manifest:
    """The manifest of one trial, with `${trialParameters.x}` where a parameter's value goes.

    A training of one worker runs as our packed trials do; one of several keeps its strategy and its workers.
    """
    training = train_core.as_chosen(spec.training)[0] if spec.training else None
    call = make_call(spec, dataset_uri)
    if spec.function or training is None or training.workers == 1:
        return _single_worker(spec, "trial", store_uri, [*WORKER, "trial"], call, 0)
    manifest = train_core.render(training, "trial", dataset_uri, store_uri=store_uri)
    for container in _containers(manifest):
        for variable in container.get("env", []):
            if variable["name"] == TRAINING:
                document = json.loads(variable["value"])
                document["spec"]["params"] |= call.params
                document["output_uri"] = None
                variable["value"] = json.dumps(document, sort_keys=True)
    return manifest


def make_call(spec: SweepSpec, dataset_uri: str, keeps: bool = False) -> Call:
    """What a trial is to do: train the recipe, or call the sweep's own function.

    Args:
        spec, dataset_uri: The sweep, and what it trains on.
        keeps: Whether a training keeps checkpoints, to go on from.
    """
    training = core.trial_training(spec, {})
    names = [parameter.name for parameter in spec.parameters]
    holes = {name: {"$param": name} for name in names}
    if spec.function:
        document: dict[str, Any] = {
            "function": spec.function,
            "params": {**training.params, **holes},
            "objective": spec.objective.objectiveMetricName,
            "seed": training.seed,
        }
    else:
        plain = train_core.document(training, dataset_uri or "file:///none", None)
        document = plain.model_dump(mode="json") | {"lease_s": 0}
        document["spec"]["params"] |= holes
        if keeps:
            document["output_uri"] = {"$param": FOLDER}
    function = CALL_FUNCTION if spec.function else TRAIN
    return Call(function, document, {name: f"${{trialParameters.{name}}}" for name in names})


def render(spec: SweepSpec, name: str, template: Manifest) -> Manifest:
    """The Experiment.

    Args:
        spec: The sweep; at least one parameter and one trial.
        name: DNS-1035, at most 40 characters (Katib makes longer names from it).
        template: One trial's manifest (TFJob, MPIJob, batch Job) with `${trialParameters.<parameter>}` in it.

    Raises:
        InvalidSpec: what Katib's webhook would refuse.
    """
    _check_name(name, "sweep")
    if not spec.parameters or spec.maxTrialCount < 1:
        raise InvalidSpec("an Experiment needs at least one parameter and maxTrialCount of at least 1", field="sweep")
    kind = template.get("kind", "")
    if kind not in _PRIMARY:
        raise InvalidSpec("no trial can be a", field="sweep", given=kind, allowed=_PRIMARY)
    trial = copy.deepcopy(template)
    for field in ("name", "namespace"):  # Katib names the trials
        trial.get("metadata", {}).pop(field, None)
    trial.pop("status", None)
    container, labels = _PRIMARY[kind]
    succeeded = "Complete" if kind == "Job" else "Succeeded"
    text = json.dumps(trial)
    used = [parameter for parameter in spec.parameters if f"${{trialParameters.{parameter.name}}}" in text]
    if len(used) < len(spec.parameters):
        missing = next(p.name for p in spec.parameters if p not in used)
        raise InvalidSpec(f"the trial template never mentions ${{trialParameters.{missing}}}", field="sweep")
    objective = spec.objective.model_dump(mode="json", exclude_none=True)
    body: dict[str, Any] = {
        "objective": {key: value for key, value in objective.items() if value != []},
        "algorithm": spec.algorithm.model_dump(mode="json"),
        "parallelTrialCount": min(spec.parallelTrialCount, spec.maxTrialCount),
        "maxTrialCount": spec.maxTrialCount,
        "maxFailedTrialCount": min(spec.maxFailedTrialCount, spec.maxTrialCount),
        "resumePolicy": "Never",
        "parameters": [_parameter(parameter) for parameter in spec.parameters],
        "metricsCollectorSpec": {
            "collector": {"kind": "StdOut"},
            "source": {"filter": {"metricsFormat": [FILTER]}},
        },
        "trialTemplate": {
            "primaryContainerName": container,
            **({"primaryPodLabels": labels} if labels else {}),
            "successCondition": DONE.format(succeeded),
            "failureCondition": DONE.format("Failed"),
            "trialParameters": [{"name": p.name, "reference": p.name} for p in spec.parameters],
            "trialSpec": trial,
        },
    }
    if spec.earlyStopping is not None:
        body["earlyStopping"] = spec.earlyStopping.model_dump(mode="json")
    return {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": {"name": name}, "spec": body}


@dataclass(frozen=True)
class Experiment:
    """An Experiment as the sweep that our engine plays.

    Attributes:
        template: One trial's manifest.
        parameters: Trial parameter -> the search space's parameter that it stands for.
        formats: Regular expressions of the metrics collector.
        notes: Paths of fields that are understood but not applied here.
    """

    name: str
    spec: SweepSpec
    template: Manifest
    parameters: dict[str, str]
    formats: list[str]
    notes: list[str]


_SPEC_FIELDS = ("objective", "algorithm", "earlyStopping", "parameters")
_COUNTS = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount")
_TEMPLATE_FIELDS = ("trialSpec", "trialParameters")
# How a trial ended and which replica is read follows from its kind here, as these fields say it for Katib.
_TEMPLATE_KNOWN = ("primaryContainerName", "primaryPodLabels", "successCondition", "failureCondition", "retain")


def read(manifest: Manifest) -> Experiment:
    """The Experiment of a manifest.

    Raises:
        InvalidSpec: names the path of a field that is wrong, or that cannot be honoured here.
    """
    spec = _mapping(manifest.get("spec"), "spec")
    notes = ["spec.resumePolicy"] if "resumePolicy" in spec else []
    known = (*_SPEC_FIELDS, *_COUNTS, "trialTemplate", "metricsCollectorSpec", "resumePolicy", "nasConfig")
    _refuse_unknown(spec, known, "spec")
    if spec.get("nasConfig"):
        raise InvalidSpec(
            "neural architecture search cannot be played here", field="spec.nasConfig", fix="leave it out"
        )
    for required in ("maxTrialCount", "parameters", "trialTemplate"):
        if not spec.get(required):
            raise InvalidSpec("missing; without it the sweep would have no end or no trials", field=f"spec.{required}")
    template = _mapping(spec["trialTemplate"], "spec.trialTemplate")
    _refuse_unknown(template, (*_TEMPLATE_FIELDS, *_TEMPLATE_KNOWN, "configMap"), "spec.trialTemplate")
    if "trialSpec" not in template:
        raise InvalidSpec(
            "missing; a template in a ConfigMap cannot be read here", field="spec.trialTemplate.trialSpec"
        )
    document = {key: spec[key] for key in (*_SPEC_FIELDS, *_COUNTS) if spec.get(key) is not None}
    parsed = parse(SweepSpec, {"maxFailedTrialCount": spec["maxTrialCount"], **document}, "spec")
    names = {parameter.name for parameter in parsed.parameters}
    references = {}
    for index, entry in enumerate(template.get("trialParameters") or []):
        reference = entry.get("reference", "")
        if reference not in names:
            raise InvalidSpec(
                "unknown parameter",
                field=f"spec.trialTemplate.trialParameters[{index}].reference",
                given=reference,
                allowed=sorted(names),
            )
        references[entry["name"]] = reference
    name = _mapping(manifest.get("metadata"), "metadata").get("name", "")
    _check_name(name, "metadata.name")
    trial = _mapping(template["trialSpec"], "spec.trialTemplate.trialSpec")
    if trial.get("kind") not in _PRIMARY:
        raise InvalidSpec(field="spec.trialTemplate.trialSpec.kind", given=trial.get("kind"), allowed=_PRIMARY)
    return Experiment(
        name=name,
        spec=core.with_objective(parsed),
        template=trial,
        parameters=references,
        formats=_formats(spec.get("metricsCollectorSpec") or {}),
        notes=notes,
    )


def _check_name(name: str, field: str) -> None:
    """What trials are called must fit behind it."""
    if not 0 < len(name) <= NAME_MAX:
        raise InvalidSpec(
            f"experiment name {name!r} has {len(name)} characters; Katib allows {NAME_MAX}", field=field, given=name
        )


def _formats(collector: Mapping[str, Any]) -> list[str]:
    kind = (collector.get("collector") or {}).get("kind", "StdOut")
    if kind != "StdOut":
        raise InvalidSpec(
            f"{kind!r} cannot be honoured here",
            field="spec.metricsCollectorSpec.collector.kind",
            given=kind,
            allowed="StdOut",
        )
    source = (collector.get("source") or {}).get("filter") or {}
    return list(source.get("metricsFormat") or [FILTER])


def _parameter(parameter: Parameter) -> dict[str, Any]:
    space = parameter.feasibleSpace
    whole = parameter.parameterType == "int"
    feasible: dict[str, Any] = {}
    for field in ("min", "max", "step"):
        bound = getattr(space, field)
        if bound is not None:
            feasible[field] = str(int(bound)) if whole else repr(float(bound))
    if space.list is not None:
        feasible["list"] = [value_text(value) for value in space.list]
    if space.distribution is not None:
        feasible["distribution"] = space.distribution
    return {"name": parameter.name, "parameterType": parameter.parameterType, "feasibleSpace": feasible}


def _single_worker(
    spec: SweepSpec, name: str, store_uri: str, command: list[str], call: Call, threads: int
) -> Manifest:
    """A TFJob of one replica with the training's image, resources and places; it is never restarted in place."""
    training = core.trial_training(spec, {}).model_copy(update={"params": {}})  # they travel with the request
    manifest = train_core.render(training, name, "file:///none", store_uri=store_uri)
    policy = manifest["spec"]["runPolicy"]
    policy["backoffLimit"] = 0
    policy.pop("activeDeadlineSeconds", None)  # it would count all trials of a runner together
    for replica in manifest["spec"]["tfReplicaSpecs"].values():
        replica["restartPolicy"] = "Never"
    for container in _containers(manifest):
        container["command"] = command
        kept = [variable for variable in container["env"] if variable["name"] != TRAINING]
        if threads:
            names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
            kept += [{"name": variable, "value": str(threads)} for variable in names]
        container["env"] = [*kept, node_variable(), {"name": CALL, "value": call.to_json()}]
    return manifest


def _containers(manifest: Manifest) -> list[dict[str, Any]]:
    spec = manifest["spec"]
    replicas = spec.get("tfReplicaSpecs") or spec.get("mpiReplicaSpecs") or {}
    return [container for replica in replicas.values() for container in replica["template"]["spec"]["containers"]]


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidSpec(field=where, given=value, allowed="a mapping")
    return dict(value)


def _refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise InvalidSpec("unknown field", field=f"{where}.{key}", given=key, allowed=known)
