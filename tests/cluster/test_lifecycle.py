"""A bed comes and goes: one at a time, adopted while it runs, and gone without a trace. These run last."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import bed as beds
from tests.cluster import sharing, workloads
from tests.cluster.bed import Bed, daemons, machine, settings
from tests.cluster.bed.bed import in_use, unused

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
OTHERS_S = 600.0  # for the tests of another session to end
COMMAND = [sys.executable, "-m", "tests.cluster.bed"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def pids() -> dict[str, int]:
    records = (settings.state() / "processes").glob("*.json")
    return {path.stem: json.loads(path.read_text())["pid"] for path in records}


@pytest.fixture(scope="module")
def alone(cluster: Bed) -> Iterator[None]:
    """Nobody else uses the bed from here on; at the end it is up again for those who wait."""
    sharing.release()
    try:
        with unused(OTHERS_S):
            yield
            beds.up()
    finally:
        sharing.hold()


def test_up_adopts_the_bed_that_runs(cluster: Bed) -> None:
    before = pids()
    result = run("up")
    assert result.returncode == 0, result.stderr
    assert pids() == before


def test_down_refuses_while_a_session_uses_the_bed(cluster: Bed) -> None:
    with in_use():
        result = run("down")
    assert result.returncode == 1
    assert pids()
    assert "a test session uses the bed" in result.stderr


def test_down_leaves_nothing_and_can_be_repeated(cluster: Bed, alone: None) -> None:
    cluster.add_fake_nodes(1)
    cluster.kubectl.apply(document=workloads.pod("sleeper", "import time; time.sleep(600)"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=180s")
    before = json.loads((settings.state() / "before.json").read_text())
    assert machine.left_behind(before, machine.read())  # the comparison sees a bed that runs
    for _ in range(2):
        result = run("down", "--force")
        assert result.returncode == 0, result.stderr
        assert machine.left_behind(before, machine.read()) == []
        assert [path.name for path in settings.state().iterdir()] == ["containerd"]
    assert run("status").returncode == 3


@pytest.mark.parametrize("moment", ["etcd", "kubelet", "kube-proxy"])
def test_down_clears_away_what_a_killed_up_left(alone: None, moment: str) -> None:
    assert run("down", "--force").returncode == 0
    before = machine.read()
    starting = subprocess.Popen([*COMMAND, "up"], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not daemons.is_running(moment):
        assert time.monotonic() < deadline
        assert starting.poll() is None
        time.sleep(0.05)
    os.kill(starting.pid, signal.SIGKILL)
    starting.wait()
    assert list(daemons.marked())
    result = run("down", "--force")
    assert result.returncode == 0, result.stderr
    assert machine.left_behind(before, machine.read()) == []


def test_a_bed_that_lost_a_process_is_replaced(cluster: Bed, alone: None) -> None:
    beds.up()
    before = pids()
    os.kill(before["kube-scheduler"], signal.SIGKILL)
    assert run("up").returncode == 0
    assert not set(before.values()) & set(pids().values())
    assert cluster.kubectl.succeeds("get", "--raw", "/readyz")


def test_a_bed_of_which_every_process_died_at_once_is_replaced(cluster: Bed, alone: None) -> None:
    """As on a machine that lost power: nobody was there to unmount, to end containers, or to forget them."""
    beds.up()
    cluster.kubectl.apply(document=workloads.pod("cut-off", "import time; time.sleep(600)"))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/cut-off", "--timeout=180s")
    before = json.loads((settings.state() / "before.json").read_text())
    deadline = time.monotonic() + 60
    while dying := [*(pid for pid, _, _ in daemons.marked()), *(pid for pid, _ in machine.pod_processes())]:
        assert time.monotonic() < deadline
        for pid in dying:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    result = run("down", "--force")
    assert result.returncode == 0, result.stderr
    assert machine.left_behind(before, machine.read()) == []
    assert run("up").returncode == 0
    assert cluster.kubectl.succeeds("get", "--raw", "/readyz")
