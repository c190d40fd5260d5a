"""Strategy `parameter_server` in jobs of a real training operator: a ps' pod is deleted half-way."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shipway.artifacts import ModelManifest
from shipway.components.train import launch
from shipway.executors.kubernetes.states import pod_state
from tests.cluster.bed import Bed
from tests.cluster.bed.kubectl import Kubectl
from tests.cluster.installed import Installed
from tests.fixtures.recipe_rows import dataset_of, training_of

pytestmark = pytest.mark.xdist_group("pipelines")

STEPS = 400
BEGINS_WITHIN_S = 600  # TensorFlow is imported first, on a crowded machine
SMALL = {"cpu": "200m", "memory": "2Gi", "ps": {"cpu": "100m", "memory": "1Gi"}}


@pytest.fixture
def home(cluster: Bed, installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step's, which runs here."""
    for name, value in installed.tells_a_step(cluster, tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.proves(recipe="intents", strategy="parameter_server", executor="kubernetes")
def test_a_training_goes_on_although_its_ps_was_deleted(
    shipped: Any, home: Path, installed: Installed, kubectl: Kubectl
) -> None:
    shipped("tensorflow")
    places = {name: str(home / name) for name in ("dataset", "model", "metrics", "ui")}
    dataset, model, metrics, ui = (SimpleNamespace(path=path, log_metric=lambda *_: None) for path in places.values())
    dataset_of("intents", home).write(dataset.path)
    spec = {**training_of("intents", "parameter_server"), "name": "served", "resources": SMALL, "steps": STEPS,
            "checkpoint_steps": 20}  # fmt: skip
    deleted: list[str] = []

    def pods(role: str) -> list[dict[str, Any]]:
        labels = f"training.kubeflow.org/replica-type={role}"
        found: list[dict[str, Any]] = kubectl.get("pods", "-n", installed.namespace, "-l", labels)["items"]
        return [pod for pod in found if pod_state(pod).phase == "Running"]

    def delete_ps() -> None:
        """Once the chief trains: its pod tells of steps."""

        def is_training() -> bool:
            told = [kubectl("logs", pod["metadata"]["name"], "-n", installed.namespace) for pod in pods("chief")]
            return any("val_loss=" in text for text in told)

        until = time.monotonic() + BEGINS_WITHIN_S
        while not is_training():
            assert time.monotonic() < until, "the chief tells of no checkpoint"
            time.sleep(1)
        ps = pods("ps")[0]
        limits = {each["spec"]["containers"][0]["resources"]["limits"]["cpu"] for each in (ps, *pods("worker"))}
        assert limits == {"100m", "200m"}
        kubectl("delete", "pod", "-n", installed.namespace, ps["metadata"]["name"], "--grace-period=0", "--force")
        deleted.append(ps["metadata"]["name"])

    thread = threading.Thread(target=delete_ps)
    thread.start()
    launch.job(dataset, json.dumps(spec), "", model, metrics, ui)
    thread.join(timeout=60)
    assert deleted
    published = ModelManifest.read(model.path)
    assert (published.strategy, published.steps, published.workers) == ("parameter_server", STEPS, 2)
    assert published.served.may_be_served
