"""Experiments on the bed: judged by a strict schema, and played by a stand-in for Katib's controller.

Katib itself is not there (docs/cluster.md says so); the trials, their operator and their pods are real.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from shipway.components.sweep import experiment, katib, launch
from shipway.components.sweep.spec import SweepSpec
from shipway.context import Context
from shipway.errors import JobFailed
from shipway.executors import Handle, Manifest
from shipway.executors.kubernetes import KubernetesExecutor
from shipway.specs import parse
from tests.cluster import workloads
from tests.cluster.bed import Bed, BedError
from tests.cluster.bed.kubectl import Kubectl
from tests.cluster.installed import Installed
from tests.cluster.katib.controller import Controller
from tests.fixtures.manifests import changed
from tests.fixtures.tiny_model import SPEC, make_dataset
from tests.unit.components.sweep.test_experiment import rendered

pytestmark = pytest.mark.alone  # the kind comes and goes for the whole cluster

SEARCH = {
    "objective": {"type": "maximize", "objectiveMetricName": "score", "additionalMetricNames": ["loss"]},
    "parameters": {"rate": "uniform(0, 1)", "size": "randint(64, 256, 64)", "kind": ["good", "bad"]},
    "maxTrialCount": 3, "parallelTrialCount": 1, "maxFailedTrialCount": 0, "algorithm": "random", "engine": "katib",
}  # fmt: skip
TRAININGS: list[dict[str, Any]] = [
    {}, {"strategy": "multi_worker", "workers": 3}, {"strategy": "horovod", "workers": 2},
]  # fmt: skip
# Best at rate 0.5; a last report is what counts.
TRIAL = """
rate, kind = float('${trialParameters.rate}'), '${trialParameters.kind}'
assert int('${trialParameters.size}') % 64 == 0
print('epoch 1 score=9.0 loss=1e0')
print('noise == 3 and score=nan')
print(f'score = {1 - (rate - 0.5) ** 2:.6f} loss={(rate - 0.5) ** 2:.2e}')
"""


def strictly(kubectl: Kubectl, namespace: str, manifest: Manifest) -> None:
    kubectl("create", "--validate=strict", "--dry-run=server", "-n", namespace, "-f", "-", document=manifest)


@pytest.mark.usefixtures("schema")
@pytest.mark.parametrize(
    "training", [{}, {"strategy": "multi_worker", "workers": 3}, {"strategy": "horovod", "workers": 2}]
)
def test_the_schema_takes_our_experiment_strictly(kubectl: Kubectl, namespace: str, training: dict[str, Any]) -> None:
    strictly(kubectl, namespace, rendered(**training))


@pytest.mark.usefixtures("schema")
@pytest.mark.parametrize(("path", "value"), [
    ("spec.objectve", {}), ("spec.trialTemplate.primaryContainer", "x"), ("spec.objective.strategies", []),
    ("spec.parameters.0.feasibleSpace.mim", "1"), ("spec.parameters.0.feasibleSpace.min", 0.1),
    ("spec.objective.type", "best"), ("spec.metricsCollectorSpec.collector.kind", "Stdout"), ("spec.maxTrialCount", 0),
])  # fmt: skip
def test_the_schema_refuses_what_katib_would_not_read(kubectl: Kubectl, namespace: str, path: str, value: Any) -> None:
    with pytest.raises(BedError, match=path.split(".")[-1]):
        strictly(kubectl, namespace, changed(rendered(), path, value))


def search_by(code: str) -> tuple[SweepSpec, Manifest]:
    """A sweep whose trials are batch Jobs of a few lines of Python."""
    spec = parse(SweepSpec, SEARCH, "sweep")
    template = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": {"backoffLimit": 0, "template": {
        "spec": {"restartPolicy": "Never", "containers": [workloads.container(code, "trial")]}}}}  # fmt: skip
    return spec, experiment.render(spec, "score-sweep-1", template)


@pytest.mark.usefixtures("schema")
def test_an_experiment_ends_with_its_best_parameters(
    kubeconfig: Path, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    context = Context(home=tmp_path, store_uri=f"file://{tmp_path}/store", run="r", executor="kubernetes",
                      namespace=namespace)  # fmt: skip
    spec, manifest = search_by(TRIAL)
    handles: list[Handle] = []
    with Controller(namespace) as controller:
        (best,) = katib.play(spec, manifest, KubernetesExecutor(context), handles.append)
    assert best.params == {"rate": 0.5, "size": 192, "kind": "bad"}
    assert best.metrics == {"score": 1.0, "loss": 0.0}
    assert best.job == controller.trials[0]["metadata"]["name"]
    assert len(controller.trials) == 3
    again = KubernetesExecutor(context).ensure(manifest)
    assert (again.adopted, again.name) == (True, handles[0].name)


USED = " # ${trialParameters.rate} ${trialParameters.size} ${trialParameters.kind}"


@pytest.mark.usefixtures("schema")
@pytest.mark.parametrize("code", ["raise SystemExit(3)", "print('other=1')"])
def test_an_experiment_whose_trials_fail_or_say_nothing_fails(
    kubeconfig: Path, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    context = Context(home=tmp_path, store_uri=f"file://{tmp_path}/store", run="r", executor="kubernetes",
                      namespace=namespace)  # fmt: skip
    spec, manifest = search_by(code + USED)
    with Controller(namespace), pytest.raises(JobFailed, match="Experiment is failed"):
        katib.play(spec, manifest, KubernetesExecutor(context))


@pytest.mark.usefixtures("schema")
def test_the_sweep_component_trains_its_trials_and_gives_the_best_parameters(
    cluster: Bed, installed: Installed, shipped: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sweep.search` as its step calls it: TFJobs of our image, read by the pod label that the operator gives."""
    shipped("tensorflow")
    for name, value in installed.tells_a_step(cluster, tmp_path).items():
        monkeypatch.setenv(name, value)
    dataset = make_dataset(tmp_path)
    dataset.write(tmp_path / "dataset")
    small = {"cpu": "200m", "memory": "2Gi"}
    spec = {"parameters": {"learning_rate": "loguniform(0.002, 0.02)"}, "maxTrialCount": 2, "engine": "katib",
            "parallelTrialCount": 1, "algorithm": "random",
            "training": {**SPEC, "epochs": 2, "resources": small}}  # fmt: skip
    files = {name: SimpleNamespace(path=str(tmp_path / name)) for name in ("dataset", "sweep", "report")}
    with Controller(installed.namespace) as controller:
        best = launch.search(files["dataset"], yaml.safe_dump(spec), files["sweep"], files["report"])
    assert 0.002 <= yaml.safe_load(best)["learning_rate"] <= 0.02
    assert [trial["kind"] for trial in controller.trials] == ["TFJob", "TFJob"]
    assert b"val_accuracy" in (tmp_path / "report").read_bytes()
