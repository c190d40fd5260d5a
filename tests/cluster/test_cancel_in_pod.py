"""A run is cancelled, or its step dies, while `train.job` waits for its TFJob: nothing is held for long after that.

The step runs in a pod, started by the command that kfp compiled, below processes that end as those of KFP do
(tests/fixtures/kfp_parent.py). What it launches really trains, by the training operator.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from shipway.artifacts import DatasetManifest
from shipway.errors import LeaseLapsed
from shipway.executors.kubernetes.rendering import JOB
from shipway.executors.outcomes import read_outcome
from shipway.storage import Store
from shipway.storage.pointers import read_pointer
from shipway.training.checkpoint import POINTER
from tests.cluster.bed import Bed
from tests.cluster.installed import Installed
from tests.cluster.step_pods import StepPod, gone
from tests.fixtures.executor_rigs import Following
from tests.fixtures.kubernetes_rig import KubernetesRig
from tests.fixtures.manifests import SLEEP, tfjob, wait_for
from tests.fixtures.tiny_model import PARAMS, make_dataset

pytestmark = [pytest.mark.usefixtures("surroundings"), pytest.mark.xdist_group("cancel-in-pod")]

LEASE_S = 8  # 120 by default
LIMIT_S = 240.0  # a crowded machine imports TensorFlow first
# It would go on for hours, and saves no checkpoint unless it is told to end.
TRAINING: dict[str, Any] = {
    "name": "tiny", "params": PARAMS, "batch_size": 16, "steps": 3_000_000, "checkpoint_steps": 3_000_000,
    "early_stopping": None, "lease_s": LEASE_S,
    "resources": {"cpu": "200m", "memory": "2Gi"},
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(
    cluster: Bed, installed: Installed, shipped: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> DatasetManifest:
    """What the steps train on, in the bed's store."""
    shipped("launcher", "tensorflow")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in cluster.store_environment.items():
            patch.setenv(key, value)
        patch.setenv("SHIPWAY_STORE", installed.store_uri)
        return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture
def step(installed: Installed) -> StepPod:
    """A step that is not started yet."""
    return StepPod(installed.kubectl, installed.namespace)


def wait_until(condition: Callable[[], Any], what: str, step: StepPod) -> Any:
    """The condition's value once it is true; the step's log where it does not come true."""
    until = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < until, f"{what}: not within {LIMIT_S:g} s; {step.states()}; {step.log()}"
        time.sleep(0.2)
    return found


def is_training(step: StepPod) -> bool:
    """Whether the chief's container runs."""
    return "Running" in step.replicas().values()


def steps_taken(installed: Installed, job: str) -> list[int]:
    """Of a training, as it says itself: the newest few hundred."""
    store = Store.open(installed.store_uri)
    lines = [line for each in store.list(f"jobs/{job}/progress/") for line in store.get(each.key).splitlines()]
    return [record["step"] for record in map(json.loads, lines) if "step" in record]


# -- the run is cancelled ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace_s", [0.02, 1.6])
def test_a_cancelled_run_takes_its_job_along(step: StepPod, dataset: DatasetManifest, grace_s: float) -> None:
    step.grace_s = grace_s
    step.start(dataset, TRAINING)
    wait_until(lambda: is_training(step), "the chief runs", step)
    step.terminate()
    wait_until(lambda: gone(step), "nothing is held", step)
    if grace_s > 1:
        assert step.states() == {}, "the step itself deleted its job"


@pytest.mark.parametrize("how", [[], ["--force", "--grace-period=0"]], ids=["gently", "by force"])
def test_a_deleted_pod_takes_its_job_along(step: StepPod, dataset: DatasetManifest, how: list[str]) -> None:
    step.start(dataset, TRAINING)
    wait_until(lambda: is_training(step), "the chief runs", step)
    step.kubectl("delete", "pod", step.name, "-n", step.namespace, "--wait=false", *how)
    wait_until(lambda: gone(step), "nothing is held", step)


def test_who_waits_has_a_connection_free_for_the_delete(kube_rig: KubernetesRig) -> None:
    handle = kube_rig.executor.ensure(tfjob("j", {"Chief": SLEEP}))
    following = Following(kube_rig.executor, handle)
    wait_for(lambda: following.saw("started"), "it runs")
    pool = kube_rig.api._client.rest_client.pool_manager.connection_from_url(kube_rig.api.host)
    wait_for(lambda: any(connection and connection.sock for connection in list(pool.pool.queue)), "one is free")
    kube_rig.executor.cancel(handle)
    assert following.outcome().state == "Cancelled"


# -- the step dies without a word --------------------------------------------------------------------------------------


def test_the_chief_of_a_killed_step_saves_and_ends_and_the_retried_step_goes_on(
    step: StepPod, dataset: DatasetManifest, installed: Installed
) -> None:
    step.start(dataset, TRAINING)
    name = next(iter(wait_until(step.states, "the job is there", step)))
    wait_until(lambda: steps_taken(installed, name), "it trains", step)
    step.kill()
    wait_until(lambda: gone(step), "nothing is held", step)
    assert step.states() == {name: "Failed"}, "it ended by itself"
    assert exit_codes(step, name) == {LeaseLapsed.exit_code}
    saved = read_pointer(Store.open(installed.store_uri), f"jobs/{name}/{POINTER}")
    assert saved is not None, "its only checkpoint is the one at its end"
    step_saved = int(saved.target.rsplit("/", 1)[-1])

    retried = step.again()
    retried.start(dataset, TRAINING)
    wait_until(lambda: retried.states().get(f"{name}-r1") == "Running", "its next attempt runs", retried)
    record = read_outcome(installed.store_uri, name)
    assert record is not None
    assert (record.outcome.state, record.failures) == ("Cancelled", 0), "nothing failed"
    wait_until(lambda: steps_taken(installed, f"{name}-r1"), "it trains", retried)
    assert min(steps_taken(installed, f"{name}-r1")) > step_saved
    retried.terminate()
    wait_until(lambda: gone(retried), "nothing is held", retried)


def test_what_no_chief_can_end_the_reaper_takes(step: StepPod, dataset: DatasetManifest, installed: Installed) -> None:
    step.start(dataset, {**TRAINING, "node_selector": {"disk": "nowhere"}})
    (name,) = wait_until(step.states, "the job is there", step)
    wait_until(step.replicas, "its chief waits for a node", step)
    step.kill()
    said: list[str] = []

    def reaped() -> bool:
        said.append(installed.reap())
        return gone(step)

    wait_until(reaped, "nothing is held", step)
    assert step.states() == {}
    assert f"TFJob {name}: ended, its step has been silent" in "".join(said)


# ----------------------------------------------------------------------------------------------------------------------


def exit_codes(step: StepPod, job: str) -> set[int]:
    """Of the job's replicas."""
    pods = step.kubectl.get("pods", "-n", step.namespace, "-l", f"{JOB}={job}")["items"]
    return {status["state"]["terminated"]["exitCode"] for pod in pods for status in pod["status"]["containerStatuses"]}
