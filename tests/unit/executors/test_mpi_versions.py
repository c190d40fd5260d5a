"""A training's MPIJob for either operator; both are played on the bed by tests/cluster/test_mpi.py."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway import labels
from shipway.components.sweep import experiment
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.core import render
from shipway.components.train.spec import TrainingSpec
from shipway.context import Context
from shipway.errors import InvalidSpec, NotFound
from shipway.executors import identity
from shipway.executors.kubernetes import mpi
from shipway.executors.kubernetes.api import Api
from shipway.executors.kubernetes.kinds import kind_of
from shipway.executors.kubernetes.rendering import rendered
from shipway.specs import parse
from shipway.training.rank import adopt_container_environment
from tests.fixtures.manifests import mpijob, tfjob

GOLDEN = Path(__file__).parents[2] / "golden"
CONTEXT = Context(home=Path("/nowhere"), store_uri="s3://shipway", run="r1", executor="kubernetes", namespace="team")
SPEC = {
    "name": "bot", "strategy": "horovod", "workers": 2, "retries": 2, "deadline_s": 600, "keep_s": 60, "queue": "team",
    "priority": "high", "node_selector": {"pool": "gpu"}, "resources": {"gpu": 1},
}  # fmt: skip


def training() -> dict[str, Any]:
    spec = parse(TrainingSpec, SPEC, "training")
    return render(spec, "bot-train-0123456789", "s3://shipway/datasets/a", store_uri="s3://shipway")


@contextmanager
def cluster(*versions: str, status: int = 404) -> Iterator[Api]:
    """An API server that knows nothing but what it serves."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            version = self.path.removeprefix("/apis/kubeflow.org/")
            known = {"v1": ["tfjobs"], **{each: ["tfjobs", "mpijobs", "mpijobs/status"] for each in versions}}
            answer = {"resources": [{"name": name} for name in known.get(version, [])]}
            body = json.dumps(answer if version in known else {"message": "404 page not found"}).encode()
            self.send_response(200 if version in known and status == 404 else status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    def connect() -> Any:
        from kubernetes import client

        return client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{server.server_port}"))

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Api(connect)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("version", ["v1", "v2beta1"])
def test_what_is_applied_changes_only_on_purpose(version: str) -> None:
    """`SHIPWAY_UPDATE_GOLDEN=1 pytest tests/unit/executors/test_mpi_versions.py` writes the files anew."""
    with cluster(version) as api:
        served = mpi.as_served(api, training())
    made = rendered(served, kind_of(served), CONTEXT, 0, None, "", identity.spec_hash(training()))
    for role in made["spec"]["mpiReplicaSpecs"].values():  # what is trained is another test's business
        for variable in role["template"]["spec"]["containers"][0]["env"]:
            if variable["name"] == "SHIPWAY_TRAINING":
                variable["value"] = "the training"
    made["metadata"]["annotations"][labels.SPEC_HASH] = "of what was given"
    text = yaml.safe_dump(made, sort_keys=True, width=120)
    path = GOLDEN / f"mpijob_{version}.yaml"
    if os.environ.get("SHIPWAY_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "the manifest changed; if that is what you want, see above"


def test_a_jobs_identity_is_the_same_on_either_cluster() -> None:
    made = []
    for version in ("v1", "v2beta1"):
        with cluster(version) as api:
            served = mpi.as_served(api, training())
        made.append(rendered(served, kind_of(served), CONTEXT, 0, None, "", identity.spec_hash(training())))
    one, two = (found["metadata"] for found in made)
    assert one["name"] == two["name"]
    assert one["annotations"][labels.SPEC_HASH] == two["annotations"][labels.SPEC_HASH]
    assert made[0]["spec"]["runPolicy"] == made[1]["spec"]["runPolicy"]


def test_of_two_versions_the_one_that_was_written_is_played() -> None:
    with cluster("v1", "v2beta1") as api:
        assert mpi.as_served(api, training()) == training()
        newer = mpijob("j", "pass", version="v2beta1")
        assert mpi.as_served(api, newer) is newer


def test_an_experiments_trials_are_written_for_the_cluster_too() -> None:
    spec = parse(SweepSpec, {"parameters": {"dropout": [0.1, 0.2]}, "training": SPEC})
    found = experiment.render(spec, "bot-sweep-1", experiment.trial_template(spec, "file:///d", "s3://shipway"))
    with cluster("v2beta1") as api:
        trial = mpi.as_served(api, found)["spec"]["trialTemplate"]["trialSpec"]
    assert trial["apiVersion"] == "kubeflow.org/v2beta1"
    assert trial["spec"]["sshAuthMountPath"] == "/home/shipway/.ssh"
    assert "name" not in trial["metadata"]


def test_a_cluster_without_mpijobs_is_told_with_what_to_install() -> None:
    with cluster() as api:
        with pytest.raises(NotFound, match=r"serves none.*kubectl apply .*training-operator.*strategy multi_worker"):
            mpi.as_served(api, training())
        other = tfjob("j", {"Chief": "pass"})
        assert mpi.as_served(api, other) is other


@pytest.mark.parametrize(("written", "found"), [("v1", "v2beta1"), ("v2beta1", "v1")])
def test_a_manifest_that_does_not_say_so_is_never_changed_into_the_other_version(written: str, found: str) -> None:
    with (
        cluster(found) as api,
        pytest.raises(
            InvalidSpec, match=rf"MPIJob j is kubeflow.org/{written}, this cluster serves kubeflow.org/{found}"
        ),
    ):
        mpi.as_served(api, mpijob("j", "pass", version=written))


def test_who_may_not_ask_what_is_served_applies_what_was_given() -> None:
    with cluster("v2beta1", status=403) as api:
        assert mpi.as_served(api, training()) == training()


def test_a_rank_over_ssh_completes_its_environment_by_its_containers(tmp_path: Path) -> None:
    first = tmp_path / "environ"
    first.write_bytes(b"SHIPWAY_REPLICA=worker-1\0AWS_SECRET_ACCESS_KEY=s=1\0PATH=/other\0\0")
    rank = {"OMPI_COMM_WORLD_RANK": "1", "PATH": "/bin"}
    adopt_container_environment(rank, first)
    assert rank["SHIPWAY_REPLICA"] == "worker-1"
    assert rank["AWS_SECRET_ACCESS_KEY"] == "s=1"
    assert rank["PATH"] == "/bin"
    for given in ({}, {**rank, "SHIPWAY_REPLICA": "mine"}):
        before = dict(given)
        adopt_container_environment(given, first)
        assert given == before
    unread = {"OMPI_COMM_WORLD_RANK": "1"}
    adopt_container_environment(unread, tmp_path / "nowhere")
    assert unread == {"OMPI_COMM_WORLD_RANK": "1"}
