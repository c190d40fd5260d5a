"""The strategies are one training: same losses, same batches, and a killed worker changes neither."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.storage import open_folder
from shipway.storage.server import ServerInfo
from shipway.training import events, usage
from tests.conftest import STORE_HOME
from tests.fixtures import other_tasks
from tests.fixtures.jobs import Trained, needs_horovod, play, shared_by_jobs
from tests.fixtures.long_only import LONG_ONLY
from tests.fixtures.tiny_model import Tiny

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900), pytest.mark.xdist_group("train-strategies")]

GLOBAL_BATCH = 16
STEPS = 36
EXACT = {
    "params": {"dim": 16, "hidden": 32, "dropout": 0.0, "feature_dropout": 0.0},
    "steps": STEPS,
    "checkpoint_steps": 9,
    "early_stopping": None,
}


@pytest.fixture(scope="module")
def environment(embedded_store: ServerInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One home and one prefix of the store for all jobs of this module: they are compared with each other."""
    with shared_by_jobs(embedded_store, "strategies", tmp_path_factory.mktemp("home")):
        assert os.environ[STORE_HOME]
        yield


def spec(strategy: str, **changes: Any) -> dict[str, Any]:
    workers = 1 if strategy == "single" else 2
    return {**EXACT, "strategy": strategy, "workers": workers, "batch_size": GLOBAL_BATCH // workers, **changes}


@pytest.fixture(scope="module")
def single(environment: None, tiny: Tiny) -> Trained:
    return play("single", tiny.dataset, spec("single"))


@pytest.fixture(scope="module")
def multi_worker(environment: None, tiny: Tiny) -> Trained:
    return play("multi-worker", tiny.dataset, spec("multi_worker"))


@pytest.fixture(scope="module")
def horovod(environment: None, tiny: Tiny) -> Trained:
    return play("horovod", tiny.dataset, spec("horovod"))


@pytest.fixture(scope="module")
def parameter_server(environment: None, tiny: Tiny) -> Trained:
    return play("ps", tiny.dataset, spec("parameter_server", parameter_servers=2))


def assert_same_training(one: Trained, other: Trained) -> None:
    assert sorted(one.losses) == sorted(other.losses) == list(range(1, STEPS + 1))
    for step in range(1, 21):
        assert other.losses[step] == pytest.approx(one.losses[step], rel=1e-4), f"step {step}"
    assert abs(one.model.metrics["val_accuracy"] - other.model.metrics["val_accuracy"]) <= 0.01
    for each in (one, other):
        assert each.epochs == pytest.approx(each.model.epochs, abs=1e-3), (
            "of the rows, not of what `epochs` says beside `steps`"
        )


@pytest.mark.proves(recipe="intents", strategy="single", executor="process")
@pytest.mark.proves(recipe="intents", strategy="multi_worker", executor="process")
def test_multi_worker_trains_as_a_single_worker_does(single: Trained, multi_worker: Trained) -> None:
    assert_same_training(single, multi_worker)


@needs_horovod
@pytest.mark.proves(recipe="intents", strategy="horovod", executor="process")
def test_horovod_trains_as_a_single_worker_does(single: Trained, horovod: Trained) -> None:
    assert_same_training(single, horovod)


@pytest.mark.proves(recipe="intents", strategy="parameter_server", executor="process")
def test_parameter_servers_train_as_a_single_worker_does_and_on_its_very_batches(
    single: Trained, parameter_server: Trained
) -> None:
    assert_same_training(single, parameter_server)
    assert parameter_server.batches == single.batches, "the chief cuts what a single worker would take whole"
    assert parameter_server.model.workers == 2


@needs_horovod
def test_workers_of_both_strategies_are_given_the_same_batches(multi_worker: Trained, horovod: Trained) -> None:
    """A batch is a function of seed, step and world size, not of who exchanges the gradients."""
    assert list(multi_worker.batches["chief-0"].values()) == list(horovod.batches["worker-0"].values())
    assert list(multi_worker.batches["worker-0"].values()) == list(horovod.batches["worker-1"].values())


@pytest.mark.proves(recipe="a recipe of your own", strategy="single", executor="process")
@pytest.mark.proves(recipe="a recipe of your own", strategy="multi_worker", executor="process")
def test_a_task_of_ones_own_is_one_training_too_and_a_worker_may_have_no_row_to_score(
    environment: None, tmp_path: Path
) -> None:
    store = os.environ["SHIPWAY_STORE"]
    dataset = other_tasks.write_dataset(other_tasks.number, f"{store}/numbers", tmp_path, {"train": 64, "eval": 1})
    own = {"recipe": other_tasks.NUMBER, "params": {}, "steps": 6, "checkpoint_steps": 3}
    alone = play("number-single", dataset, spec("single", **own))
    shared = play("number-shared", dataset, spec("multi_worker", **own))
    assert shared.losses == pytest.approx(alone.losses, rel=1e-4)
    assert shared.model.metrics.keys() == alone.model.metrics.keys()
    for name in ("val_rmse", "val_mae", "val_loss"):
        assert shared.model.metrics[name] == pytest.approx(alone.model.metrics[name], rel=1e-4), name


def assert_undisturbed(killed: Trained, calm: Trained, restarts: int) -> None:
    assert killed.restarts == restarts
    assert killed.batches == calm.batches
    assert killed.model.steps == calm.model.steps == STEPS
    for step, loss in calm.losses.items():
        assert killed.losses[step] == pytest.approx(loss, rel=1e-4), f"step {step}"
    assert killed.model.metrics["val_accuracy"] == pytest.approx(calm.model.metrics["val_accuracy"], abs=0.01)
    assert curve_steps(killed) == curve_steps(calm), "no step stands twice in TensorBoard's file"


def curve_steps(trained: Trained) -> list[int]:
    return events.steps_in(open_folder(job_of(trained)).get(f"tensorboard/{events.NAME}"))


def job_of(trained: Trained) -> str:
    return trained.model.uri.rsplit("/", 1)[0]


def test_each_replica_tells_what_it_used_and_how_long_its_steps_waited(multi_worker: Trained) -> None:
    usages = usage.kept(job_of(multi_worker))
    assert [each.replica for each in usages] == ["chief-0", "worker-0"]
    for each in usages:
        assert 0 < each.cpu_cores.mean <= each.cpu_cores.peak
        assert 100 << 20 < each.memory_bytes.mean <= each.memory_bytes.peak
        assert each.waited_for_input is not None
        assert 0 <= each.waited_for_input <= 1


@pytest.mark.soak
def test_a_killed_worker_and_then_a_killed_chief_change_neither_batches_nor_steps(
    environment: None, tiny: Tiny, multi_worker: Trained
) -> None:
    fault = "kill worker-0 when progress.step>=13 with KILL; kill chief-0 when progress.step>=22 with KILL"
    killed = play("killed", tiny.dataset, spec("multi_worker"), fault=fault)
    assert_undisturbed(killed, multi_worker, restarts=4)  # both replicas begin anew after each kill


@pytest.mark.soak
@needs_horovod
def test_a_killed_rank_changes_neither_batches_nor_steps(environment: None, tiny: Tiny, horovod: Trained) -> None:
    killed = play("killed-rank", tiny.dataset, spec("horovod"), fault="kill worker-1 when progress.step>=13 with KILL")
    assert_undisturbed(killed, horovod, restarts=2)


@LONG_ONLY[0]
@LONG_ONLY[1]
def test_a_killed_worker_ps_and_chief_change_neither_batches_nor_steps(
    environment: None, tiny: Tiny, parameter_server: Trained
) -> None:
    faults = [
        "kill worker-0 when progress.step>=13 of chief-0 with KILL",
        "kill ps-1 when progress.step>=22 of chief-0 with KILL",
        "kill chief-0 when progress.step>=31 with KILL",
    ]
    changes = spec("parameter_server", parameter_servers=2)
    killed = play("killed-ps", tiny.dataset, changes, fault="; ".join(faults), deadline_s=800)
    assert_undisturbed(killed, parameter_server, restarts=3)  # the chief tells of steps, and begins anew each time
