"""Each recipe trained by each strategy is one training: same losses at each step as by a single worker.

`test_train_strategies.py` looks closer, at the recipe `intents`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from shipway.storage.server import ServerInfo
from tests.fixtures.jobs import Trained, needs_horovod, play, shared_by_jobs
from tests.fixtures.long_only import LONG_ONLY
from tests.fixtures.recipe_rows import OWN, PARAMS, STEPS, dataset_of, job_name, training_of

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900), pytest.mark.xdist_group("recipe-strategies")]

BY_WORKERS = ["entities", "images", "image_tags"]  # the others are in test_train_strategies.py

Train = Callable[[str, str], Trained]


def shared_with_soak(recipes: list[str], quick: str) -> list[Any]:
    """Each recipe, all but `quick` in `make soak` alone: a training is an import of TensorFlow for each worker."""
    return [pytest.param(each, marks=[] if each == quick else LONG_ONLY) for each in recipes]


@pytest.fixture(scope="module")
def trained(embedded_store: ServerInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Train]:
    """A recipe's training by a strategy, each done once, in a home and a prefix of the store that they share."""
    folder = tmp_path_factory.mktemp("recipes")
    with shared_by_jobs(embedded_store, "recipe-strategies", folder / "home"):
        dataset = cache(lambda recipe: dataset_of(recipe, folder))
        yield cache(lambda recipe, strategy: play(
            job_name(recipe, strategy), dataset(recipe), training_of(recipe, strategy)
        ))  # fmt: skip


@pytest.mark.parametrize("recipe", shared_with_soak([*PARAMS], "intents"))
@pytest.mark.proves(recipe="intents", strategy="mirrored", executor="process")
@pytest.mark.proves(recipe="entities", strategy="mirrored", executor="process")
@pytest.mark.proves(recipe="images", strategy="mirrored", executor="process")
@pytest.mark.proves(recipe="image_tags", strategy="mirrored", executor="process")
@pytest.mark.proves(recipe="a recipe of your own", strategy="mirrored", executor="process")
def test_the_devices_of_one_machine_train_as_one_does(trained: Train, recipe: str) -> None:
    """Of a machine without GPUs, the processor is the only one."""
    assert_same_training(trained(recipe, "single"), trained(recipe, "mirrored"))


@pytest.mark.parametrize("recipe", shared_with_soak(BY_WORKERS, ""))
@pytest.mark.proves(recipe="images", strategy="single", executor="process")
@pytest.mark.proves(recipe="image_tags", strategy="single", executor="process")
@pytest.mark.proves(recipe="entities", strategy="multi_worker", executor="process")
@pytest.mark.proves(recipe="images", strategy="multi_worker", executor="process")
@pytest.mark.proves(recipe="image_tags", strategy="multi_worker", executor="process")
def test_two_workers_train_as_one_does(trained: Train, recipe: str) -> None:
    assert_same_training(trained(recipe, "single"), trained(recipe, "multi_worker"))


@needs_horovod
@pytest.mark.parametrize("recipe", shared_with_soak([*BY_WORKERS, OWN], ""))
@pytest.mark.proves(recipe="entities", strategy="horovod", executor="process")
@pytest.mark.proves(recipe="images", strategy="horovod", executor="process")
@pytest.mark.proves(recipe="image_tags", strategy="horovod", executor="process")
@pytest.mark.proves(recipe="a recipe of your own", strategy="horovod", executor="process")
def test_two_ranks_train_as_one_worker_does(trained: Train, recipe: str) -> None:
    assert_same_training(trained(recipe, "single"), trained(recipe, "horovod"))


@pytest.mark.parametrize("recipe", shared_with_soak([*BY_WORKERS, OWN], ""))
@pytest.mark.proves(recipe="entities", strategy="parameter_server", executor="process")
@pytest.mark.proves(recipe="images", strategy="parameter_server", executor="process")
@pytest.mark.proves(recipe="image_tags", strategy="parameter_server", executor="process")
@pytest.mark.proves(recipe="a recipe of your own", strategy="parameter_server", executor="process")
def test_a_worker_a_chief_and_a_ps_train_as_one_worker_does(trained: Train, recipe: str) -> None:
    single, shared = trained(recipe, "single"), trained(recipe, "parameter_server")
    assert_same_training(single, shared)
    assert shared.batches == single.batches


def assert_same_training(one: Trained, other: Trained) -> None:
    assert sorted(one.losses) == sorted(other.losses) == list(range(1, STEPS + 1))
    assert other.losses == pytest.approx(one.losses, rel=1e-3)
    for name, value in one.model.metrics.items():
        if name.startswith("val_"):  # a mean over batches differs where a batch is two workers'
            assert other.model.metrics[name] == pytest.approx(value, abs=0.02, rel=1e-3), name
