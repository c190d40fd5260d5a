"""Each shipped recipe is trained by each strategy in jobs of a real training operator, with Shipway's own images."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from shipway.artifacts import DatasetManifest, ModelManifest
from shipway.components.train import launch
from tests.cluster.bed import Bed
from tests.cluster.installed import Installed
from tests.fixtures.recipe_rows import STEPS, dataset_of, job_name, training_of

pytestmark = pytest.mark.xdist_group("pipelines")

STRATEGIES = ("single", "mirrored", "multi_worker", "horovod")
SMALL = {"cpu": "200m", "memory": "2Gi"}


@pytest.fixture
def home(cluster: Bed, installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step's, which runs here."""
    for name, value in installed.tells_a_step(cluster, tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], DatasetManifest]:
    """A recipe's rows, prepared once; asked for within a test's `home`."""
    return cache(lambda recipe: dataset_of(recipe, tmp_path_factory.mktemp("rows")))


CELLS = [("intents", "mirrored")]  # the pipeline's tests have its others
CELLS += [(recipe, strategy) for recipe in ("entities", "images", "image_tags") for strategy in STRATEGIES]


@pytest.mark.parametrize(("recipe", "strategy"), CELLS)
@pytest.mark.proves(recipe="intents", strategy="mirrored", executor="kubernetes")
@pytest.mark.proves(recipe="entities", strategy="single", executor="kubernetes")
@pytest.mark.proves(recipe="entities", strategy="mirrored", executor="kubernetes")
@pytest.mark.proves(recipe="entities", strategy="multi_worker", executor="kubernetes")
@pytest.mark.proves(recipe="entities", strategy="horovod", executor="kubernetes")
@pytest.mark.proves(recipe="images", strategy="single", executor="kubernetes")
@pytest.mark.proves(recipe="images", strategy="mirrored", executor="kubernetes")
@pytest.mark.proves(recipe="images", strategy="multi_worker", executor="kubernetes")
@pytest.mark.proves(recipe="images", strategy="horovod", executor="kubernetes")
@pytest.mark.proves(recipe="image_tags", strategy="single", executor="kubernetes")
@pytest.mark.proves(recipe="image_tags", strategy="mirrored", executor="kubernetes")
@pytest.mark.proves(recipe="image_tags", strategy="multi_worker", executor="kubernetes")
@pytest.mark.proves(recipe="image_tags", strategy="horovod", executor="kubernetes")
def test_a_recipe_is_trained_in_jobs_of_the_operator(
    shipped: Callable[..., None], home: Path, datasets: Callable[[str], DatasetManifest], recipe: str,
    strategy: str
) -> None:  # fmt: skip
    shipped("horovod" if strategy == "horovod" else "tensorflow")
    places = {name: str(home / name) for name in ("dataset", "model", "metrics", "ui")}
    dataset, model, metrics, ui = (SimpleNamespace(path=path, log_metric=lambda *_: None) for path in places.values())
    datasets(recipe).write(dataset.path)
    spec = {**training_of(recipe, strategy), "name": job_name(recipe, strategy), "resources": SMALL}
    launch.job(dataset, json.dumps(spec), "", model, metrics, ui)
    published = ModelManifest.read(model.path)
    assert (published.strategy, published.steps, published.recipe) == (strategy, STEPS, recipe)
    assert published.served.may_be_served
    assert published.metrics
