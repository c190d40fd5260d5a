"""`train_and_deploy` with all that it launches in the cluster: from a stranger's CSV to an answer from its Service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.executors.kubernetes.states import pod_state
from tests.cluster import overlays
from tests.cluster.bed import Bed
from tests.cluster.bed.kubectl import Kubectl
from tests.cluster.bed.operators import Mpi
from tests.fixtures import tram_wheel
from tests.fixtures.load import Load
from tests.fixtures.manifests import wait_for
from tests.fixtures.strangers_rows import write_rows

SHIPWAY = str(Path(sys.executable).with_name("shipway"))
SMALL = {"cpu": "200m", "memory": "2Gi"}  # two cores carry the operators, two replicas and an endpoint
TRAINING = {"params": {"dim": 16, "hidden": 16}, "epochs": 6, "batch_size": 32, "resources": SMALL, "workers": 2,
            "strategy": "multi_worker"}  # fmt: skip
SWEEP = {"maxTrialCount": 3, "parallelTrialCount": 1, "parameters": {"learning_rate": "loguniform(0.002, 0.02)"}}

VERSIONS = ["v1", "v2beta1"]  # of MPIJob
# Every pod of every test here is admitted at this level, but for a launcher's of MPIJob v1.
LEVEL = "pod-security.kubernetes.io/enforce"

pytestmark = pytest.mark.xdist_group("pipelines")


class Team:
    """A namespace with what manifests/ gives it, and a folder from which `shipway` is typed.

    Steps run here, as docs/cluster.md has it: the store's address and keys are what a person exports for that.
    """

    def __init__(self, bed: Bed, kubectl: Kubectl, namespace: str, folder: Path) -> None:
        self.kubectl, self.namespace, self.folder = kubectl, namespace, folder
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SHIPWAY_", "AWS_"))}
        store = {**bed.store_environment, "SHIPWAY_STORE": f"s3://shipway/{namespace}"}
        self.environment = {
            **clean, **store, "KUBECONFIG": str(bed.kubeconfig), "SHIPWAY_EXECUTOR": "kubernetes",
            "SHIPWAY_NAMESPACE": namespace,
        }  # fmt: skip
        overlays.install(kubectl, folder / "overlay", "dev", namespace, store)
        write_rows(folder / "bots.csv")

    def start(self, *more: str, **training: Any) -> subprocess.Popen[str]:
        """A run of the pipeline, not waited for."""
        overrides = {"training": {**TRAINING, **training}, "sweep": SWEEP, "endpoint": {"resources": SMALL}}
        params = [
            "name=my-bot",
            "data=bots.csv",
            "input_column=utterance",
            "label_column=intent",
            "preset=quick",
            *more,
        ]
        command = [SHIPWAY, "run", "train_and_deploy", "--local", "--json", "--param", *params]
        command.append(f"overrides={json.dumps(overrides)}")
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *more: str, **training: Any) -> dict[str, Any]:
        """A run of the pipeline, to its end."""
        process = self.start(*more, **training)
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, out[-3000:] + err[-3000:]
        found: dict[str, Any] = json.loads(out)
        return found

    def jobs(self, plural: str = "tfjobs") -> list[dict[str, Any]]:
        """Jobs of the namespace."""
        found: list[dict[str, Any]] = self.kubectl.get(plural, "-n", self.namespace)["items"]
        return found


@pytest.fixture(scope="module")
def team(
    cluster: Bed, kubectl: Kubectl, shipped: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    """A team whose images the bed knows."""
    shipped("tensorflow", "predictor")
    namespace = f"team-{os.getpid()}"
    found = Team(cluster, kubectl, namespace, tmp_path_factory.mktemp("team"))
    kubectl("label", "--overwrite", "namespace", namespace, f"{LEVEL}=restricted")  # the strictest that a user may set
    yield found
    subprocess.run([SHIPWAY, "down"], cwd=found.folder, env=found.environment, check=False, capture_output=True)
    kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def first(team: Team) -> dict[str, Any]:
    """A run in which a worker's pod is killed half-way."""
    process = team.start()

    def workers() -> list[str]:
        pods = team.kubectl.get("pods", "-n", team.namespace, "-l", "training.kubeflow.org/replica-type=worker")
        running = [pod["metadata"]["name"] for pod in pods["items"] if pod_state(pod).phase == "Running"]
        return [name for name in running if "-sweep-" not in name]

    wait_long(lambda: workers() or process.poll() is not None, "a worker runs")
    assert process.poll() is None, process.communicate()
    team.kubectl("delete", "pod", "-n", team.namespace, workers()[0], "--grace-period=0", "--force")
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out[-3000:] + err[-3000:]
    found: dict[str, Any] = json.loads(out)
    return found


def wait_long(condition: Any, what: str) -> None:
    """Trainings begin when TensorFlow is imported, on a crowded machine."""
    for _ in range(10):
        try:
            wait_for(condition, what)
            return
        except AssertionError:
            continue
    raise AssertionError(what)


def ask(url: str, text: str) -> dict[str, Any]:
    """One prediction."""
    body = json.dumps({"instances": [text], "parameters": {"top_k": 3}}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.loads(response.read())
    return answer


@pytest.mark.proves(recipe="intents", strategy="multi_worker", executor="kubernetes")
def test_the_whole_line_ends_in_an_answer_although_a_worker_was_killed(team: Team, first: dict[str, Any]) -> None:
    assert first["state"] == "Succeeded"
    trained = {job["metadata"]["name"] for job in team.jobs()}
    assert any("-sweep-" not in name for name in trained), trained
    listing = [SHIPWAY, "store", "ls", "jobs"]  # a sweep's runner that still idles at its end is taken away
    ran = subprocess.run(listing, cwd=team.folder, env=team.environment, capture_output=True, text=True, check=True)
    assert "-sweep-" in ran.stdout
    answer = ask(first["endpoint"]["predict_url"], "what is the weather in berlin")
    assert answer["predictions"][0]["label"] == "weather"
    assert first["evaluation"]["metrics"]["accuracy"] > 0.9


def test_typed_again_everything_is_cached_or_adopted(team: Team, first: dict[str, Any]) -> None:
    before = {job["metadata"]["uid"] for job in team.jobs()}
    again = team.run()
    assert {job["metadata"]["uid"] for job in team.jobs()} == before
    assert again["endpoint"]["predict_url"] == first["endpoint"]["predict_url"]


def test_a_second_version_takes_over_without_a_failed_request(team: Team, first: dict[str, Any]) -> None:
    with Load(first["endpoint"]["predict_url"]) as load:
        load.wait_for(20)
        second = team.run(epochs=7)
        load.wait_for(50)
    assert second["model"]["version"] != first["model"]["version"]
    assert load.failures == []
    assert len(load.versions) == 2


def test_the_model_answers_here_as_it_does_there(team: Team, first: dict[str, Any]) -> None:
    texts = ["fly me to oslo tonight", "cancel the alarm at seven", "is it hot in rome"]
    there = [ask(first["endpoint"]["predict_url"], text)["predictions"][0] for text in texts]
    code = """
import json
from shipway.components.deploy.rollout import Rollout
from shipway.components.deploy.spec import EndpointSpec
from shipway.context import Context
from shipway.executors.process import ProcessExecutor
from shipway.registry import Registry
registry = Registry()
record = json.loads(registry.store.get("endpoints/my-bot.json"))
executor = ProcessExecutor(Context.current())
version = registry.get("my-bot", record["version"])
manifest = Rollout(EndpointSpec(**record["spec"]), version, executor, registry)._before(record)
manifest["metadata"]["name"] = "here"
print(executor.follow(executor.ensure(manifest), deadline_s=120).url)
"""
    environment = {**team.environment, "SHIPWAY_EXECUTOR": "process"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=team.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    url = f"{done.stdout.strip().splitlines()[-1]}/v1/models/my-bot:predict"
    for text, answer in zip(texts, there, strict=True):
        found = ask(url, text)["predictions"][0]
        assert found["label"] == answer["label"]
        for label, probability in answer["probabilities"].items():
            assert abs(found["probabilities"][label] - probability) < 1e-5


@pytest.mark.proves(recipe="a recipe of your own", strategy="multi_worker", executor="kubernetes")
def test_a_wheel_reaches_trials_replicas_and_predictor_whose_images_have_never_seen_it(team: Team) -> None:
    """Given here as a folder: the store has it from then on, and each pod takes it from there."""
    tram_wheel.build(team.folder)
    overrides = {
        "sweep": {"maxTrialCount": 2, "parallelTrialCount": 1, "parameters": {"learning_rate": [0.05, 0.5]}},
        "training": {"strategy": "multi_worker", "workers": 2, "epochs": 30, "batch_size": 16, "resources": SMALL},
        "promotion": {"thresholds": {"mean_error": 6.0}},
        "endpoint": {"resources": SMALL},
    }
    params = ["name=tram", "data=journeys.csv", "group_column=group", "preset=quick", "recipe=trams:recipe"]
    command = [SHIPWAY, "run", "train_and_deploy", "--local", "--json", "--param", *params, "code=wheels"]
    command.append(f"overrides={json.dumps(overrides)}")
    done = subprocess.run(
        command, cwd=team.folder, env=team.environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout)
    pinned = [
        {variable["name"]: variable.get("value") for variable in container["env"]}["SHIPWAY_CODE"]
        for job in team.jobs()
        if job["metadata"]["labels"].get("shipway.dev/name") == "tram"
        for replica in job["spec"]["tfReplicaSpecs"].values()
        for container in replica["template"]["spec"]["containers"]
    ]
    assert len(pinned) >= 2
    assert len(set(pinned)) == 1, "one hash, whichever pod"
    assert pinned[0].startswith(f"s3://shipway/{team.namespace}/code/")
    body = json.dumps({"instances": [{"stops": 2, "passengers": 10}]}).encode()
    request = urllib.request.Request(found["endpoint"]["predict_url"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.loads(response.read())["predictions"][0]["minutes"] == pytest.approx(7.5, abs=4)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.proves(recipe="intents", strategy="horovod", executor="kubernetes")
def test_horovod_trains_two_ranks_in_the_cluster(
    cluster: Bed, team: Team, shipped: Callable[..., None], first: dict[str, Any], version: Mpi
) -> None:
    shipped("horovod")
    cluster.use_mpi(version)
    # The training operator gives a launcher an init container without a security context.
    level = "baseline" if version == "v1" else "restricted"
    team.kubectl("label", "--overwrite", "namespace", team.namespace, f"{LEVEL}={level}")
    found = team.run(strategy="horovod", seed=VERSIONS.index(version))  # or the first one's model would be taken
    assert found["state"] == "Succeeded"
    (job,) = team.jobs(f"mpijobs.{version}.kubeflow.org")  # kubectl remembers for minutes which version there was
    assert job["apiVersion"] == f"kubeflow.org/{version}"
    assert abs(found["evaluation"]["metrics"]["accuracy"] - first["evaluation"]["metrics"]["accuracy"]) <= 0.02
