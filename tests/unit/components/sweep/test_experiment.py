"""The Experiment: what Katib's webhook asks for, and the way back from a manifest to a sweep."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from shipway.components.sweep import experiment
from shipway.components.sweep.calls import CALL, Call, read_values
from shipway.components.sweep.controller import metrics_in, trial_manifest
from shipway.components.sweep.spec import SweepSpec
from shipway.errors import InvalidSpec
from shipway.specs import parse

DOCUMENT = {
    "objective": {
        "type": "maximize", "objectiveMetricName": "val_accuracy", "additionalMetricNames": ["val_loss"], "goal": 0.99,
    },
    "parameters": {
        "learning_rate": "loguniform(0.001, 0.01)", "hidden": "randint(64, 256, 64)", "decay": ["linear", "cosine"],
    },
    "maxTrialCount": 6,
    "parallelTrialCount": 9,
    "maxFailedTrialCount": 8,
    "earlyStopping": {"algorithmName": "medianstop", "algorithmSettings": {"min_trials_required": 3}},
    "training": {"name": "bot", "params": {"dropout": 0.3}},
}  # fmt: skip


def rendered(**training: Any) -> dict[str, Any]:
    spec = parse(SweepSpec, {**DOCUMENT, "training": {**DOCUMENT["training"], **training}})  # type: ignore[dict-item]
    template = experiment.trial_template(spec, "file:///data", "file:///store")
    return experiment.render(spec, "bot-sweep-1", template)


def test_an_experiment_is_what_katibs_webhook_accepts() -> None:
    manifest = rendered()
    spec, template = manifest["spec"], manifest["spec"]["trialTemplate"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("kubeflow.org/v1beta1", "Experiment")
    assert spec["parallelTrialCount"] <= spec["maxTrialCount"] == 6
    assert spec["maxFailedTrialCount"] <= spec["maxTrialCount"]
    assert {s["name"]: s["value"] for s in spec["objective"]["metricStrategies"]} == {
        "val_accuracy": "latest",
        "val_loss": "latest",
    }
    assert spec["parameters"][0]["feasibleSpace"] == {"min": "0.001", "max": "0.01", "distribution": "logUniform"}
    assert spec["parameters"][1]["feasibleSpace"] == {"min": "64", "max": "256", "step": "64"}
    assert spec["parameters"][2]["feasibleSpace"] == {"list": ["linear", "cosine"]}
    assert "name" not in template["trialSpec"]["metadata"]
    assert template["primaryContainerName"] == "tensorflow"
    mentioned = set(re.findall(r"\$\{trialParameters\.(\w+)\}", json.dumps(template["trialSpec"])))
    assert mentioned == {p["name"] for p in template["trialParameters"]} == {"learning_rate", "hidden", "decay"}
    for pattern in spec["metricsCollectorSpec"]["source"]["filter"]["metricsFormat"]:
        assert re.compile(pattern).groups >= 2
    assert yaml.safe_load(yaml.safe_dump(manifest)) == manifest


def test_a_horovod_trial_names_its_own_pod_and_conditions() -> None:
    manifest = rendered(strategy="horovod", workers=2)
    template = manifest["spec"]["trialTemplate"]
    assert template["trialSpec"]["kind"] == "MPIJob"
    assert template["primaryContainerName"] == "mpi"
    assert template["primaryPodLabels"] == {"training.kubeflow.org/job-role": "launcher"}
    assert 'type=="Succeeded"' in template["successCondition"]
    assert 'type=="Failed"' in template["failureCondition"]
    assert "${trialParameters.learning_rate}" in json.dumps(template["trialSpec"])


def test_what_katib_would_refuse_is_refused_before() -> None:
    spec = parse(SweepSpec, DOCUMENT)
    template = experiment.trial_template(spec, "file:///data", "file:///store")
    with pytest.raises(InvalidSpec, match="has 41 characters; Katib allows 40"):
        experiment.render(spec, "x" * 41, template)
    with pytest.raises(InvalidSpec, match=r"never mentions .*learning_rate"):
        experiment.render(spec, "x", {"kind": "Job", "metadata": {}, "spec": {}})
    with pytest.raises(InvalidSpec, match="no trial can be a 'PyTorchJob'"):
        experiment.render(spec, "x", {"kind": "PyTorchJob"})


def test_a_rendered_experiment_reads_back_as_the_same_sweep() -> None:
    manifest = rendered()
    found = experiment.read(manifest)
    spec = parse(SweepSpec, DOCUMENT)
    assert found.spec.parameters == spec.parameters
    assert found.spec.objective == spec.objective
    assert found.spec.earlyStopping == spec.earlyStopping
    values = {"learning_rate": 0.005, "hidden": 128, "decay": "linear"}
    trial = trial_manifest(json.dumps(found.template), "t-1", values)
    assert trial["metadata"]["name"] == "t-1"
    assert "${" not in json.dumps(trial)
    container = trial["spec"]["tfReplicaSpecs"]["Chief"]["template"]["spec"]["containers"][0]
    call = Call.from_json(next(v["value"] for v in container["env"] if v["name"] == CALL))
    params = call.filled(read_values(call.params))["spec"]["params"]
    assert {k: params[k] for k in ("learning_rate", "hidden", "decay", "dropout")} == {
        "learning_rate": 0.005, "hidden": 128, "decay": "linear", "dropout": 0.3,
    }  # fmt: skip


BAD = [
    (("spec", "objectve"), 1, "spec.objectve: unknown field.*did you mean 'objective'"),
    (("spec", "nasConfig"), {"graphConfig": {}}, "spec.nasConfig: neural architecture search"),
    (("spec", "maxTrialCount"), None, "spec.maxTrialCount: missing"),
    (("spec", "trialTemplate", "trialSpec"), ..., "a template in a ConfigMap cannot be read"),
    (("spec", "trialTemplate", "trialParameters"), [{"name": "x", "reference": "hiden"}], "did you mean 'hidden'"),
    (("spec", "metricsCollectorSpec", "collector"), {"kind": "File"}, "'File' cannot be honoured here"),
    (("spec", "trialTemplate", "trialSpec", "kind"), "PyTorchJob", "trialSpec.kind: expected one of TFJob, MPIJob"),
    (("spec", "algorithm"), {"algorithmName": "bayesianoptimization"}, "spec: .*runs on a cluster's Katib only"),
    (("metadata", "name"), "x" * 41, "metadata.name: .*41 characters; Katib allows 40"),
    (("spec", "parameters"), [{"name": "x", "parameterType": "double", "feasibleSpace": {"min": "1", "max": "a"}}],
     r"spec.parameters\[0\].feasibleSpace.max"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=[".".join(path) for path, _, _ in BAD])
def test_a_field_that_cannot_be_honoured_is_named(path: tuple[str, ...], value: Any, message: str) -> None:
    manifest = rendered()
    parent = manifest
    for part in path[:-1]:
        parent = parent[part]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    with pytest.raises(InvalidSpec, match=message):
        experiment.read(manifest)


def test_metrics_are_read_from_what_a_trial_prints() -> None:
    lines = [
        "2026-01-01T00:00:00Z accuracy=0.5",
        "loss = 1.5e-1",
        "epoch 2 accuracy=0.75 loss=-.5",
        "accuracy=nan",
        "final=1",
    ]
    assert list(metrics_in(lines, [experiment.FILTER])) == [
        ("accuracy", 0.5), ("loss", 0.15), ("accuracy", 0.75), ("loss", -0.5), ("final", 1.0),
    ]  # fmt: skip
