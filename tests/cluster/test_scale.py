"""Following a hundred jobs costs the API server what following one does: on fake nodes, with the real operator.

The server's own count is shown by `python -m benchmarks.cluster`, since on a bed others may ask too.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from shipway.context import Context
from shipway.executors.kubernetes import KubernetesExecutor, watching
from tests.cluster.bed import Bed
from tests.fixtures.follow_many import Fleet, NotingApi, counted, resident_kib

PER_JOB_KIB = 256  # a thread's stack, the job's and its pod's slim objects, a view
WAIT_S = 6.0  # of waiting that is watched


@pytest.fixture
def api(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> NotingApi:
    """Feeds of its own, so that an earlier test's do not serve this one."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr(watching, "_feeds", {})
    return NotingApi()


def waited_for(api: NotingApi, context: Context, jobs: int) -> tuple[Counter[str], int]:
    """Requests while so many jobs are waited for, and memory per job in KiB."""
    executor = KubernetesExecutor(context, api)
    other = NotingApi()
    memory = resident_kib()
    fleet = Fleet(executor, jobs)
    with counted(api) as sent:
        fleet.follow()
        fleet.await_running(other)
        time.sleep(WAIT_S)
        per_job = (resident_kib() - memory) // jobs
    fleet.finish(other)
    assert {outcome.state for _, outcome in fleet.outcomes} == {"Succeeded"}
    return sent, per_job


def test_following_a_hundred_jobs_takes_no_more_requests_than_following_one(
    cluster: Bed, api: NotingApi, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_fake_nodes(5)
    context = Context(home=tmp_path, store_uri=f"file://{tmp_path}/store", run="r", executor="kubernetes",
                      namespace=namespace)  # fmt: skip
    one, _ = waited_for(api, context, 1)
    monkeypatch.setattr(watching, "_feeds", {})
    cluster.kubectl("delete", "tfjobs", "--all", "-n", namespace, "--wait")
    store = tmp_path / "again"
    context = Context(home=store, store_uri=f"file://{store}", run="r", executor="kubernetes", namespace=namespace)
    hundred, per_job = waited_for(api, context, 100)
    # One a minute, so that a connection is free for the DELETE of a step that is stopped.
    assert one.pop("LIST version", 0) < 10
    assert hundred.pop("LIST version", 0) < 10
    assert one == Counter({"LIST pods": 1, "LIST tfjobs": 1, "WATCH pods": 1, "WATCH tfjobs": 1})
    # One look a minute at why replicas are not there yet: a hundred take longer to be than one.
    assert hundred.pop("LIST events", 0) <= 1
    assert hundred == one
    assert per_job < PER_JOB_KIB
