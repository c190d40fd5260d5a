"""MPIJob: a launcher whose `mpirun` starts the ranks."""

from __future__ import annotations

import json
import os
import signal

import pytest

from shipway.executors import Event
from shipway.executors.process import reaper
from tests.fixtures.executor_rigs import Following, ProcessRig, Rig
from tests.fixtures.manifests import REPORT, SLEEP, mpijob, wait_for

pytestmark = pytest.mark.process_only("ranks on a cluster: tests/cluster/test_mpi.py")

RANK = "import os; rank = os.environ['OMPI_COMM_WORLD_RANK'];"


@pytest.mark.parametrize("version", ["v1", "v2beta1"])
def test_ranks_run_each_in_a_world_of_its_own(rig: Rig, version: str) -> None:
    code = "import json, os; open('mine', 'x'); print(json.dumps(dict(os.environ) | {'cwd': os.getcwd()}))"
    manifest = mpijob("j", code, workers=3, version=version, worker_env={"FROM_WORKER": "yes"})
    handle = rig.executor.ensure(manifest)
    outcome = rig.executor.follow(handle)
    assert outcome.state == "Succeeded", outcome
    found = {line.replica: json.loads(line.text) for line in rig.executor.logs(handle) if line.text.startswith("{")}
    assert sorted(found) == ["worker-0", "worker-1", "worker-2"]
    for number, (name, env) in enumerate(sorted(found.items())):
        assert env["OMPI_COMM_WORLD_SIZE"] == "3"
        assert env["OMPI_COMM_WORLD_RANK"] == str(number)
        assert (env["SHIPWAY_REPLICA"], env["SHIPWAY_JOB"], env["FROM_WORKER"]) == (name, "j", "yes")
        assert env["HOME"] == env["cwd"]
        assert "TF_CONFIG" not in env
    assert len({env["cwd"] for env in found.values()}) == 3
    assert rig.alive(handle) == []


def test_the_launchers_command_is_played_as_it_stands(rig: Rig) -> None:
    command = ["sh", "-c", "echo before && mpirun -np 2 -x GREETING=hello python -I -S -c 'import os;"
               " print(os.environ[\"GREETING\"])' && echo after"]  # fmt: skip
    handle = rig.executor.ensure(mpijob("j", "", launcher=command))
    assert rig.executor.follow(handle).state == "Succeeded"
    lines = [(line.replica, line.text) for line in rig.executor.logs(handle)]
    assert lines == [("launcher-0", "before"), ("launcher-0", "after"), ("worker-0", "hello"), ("worker-1", "hello")]


def test_ranks_report_progress_under_their_own_names(rig: Rig) -> None:
    handle = rig.executor.ensure(mpijob("j", REPORT + RANK + "report(step=int(rank))"))
    events: list[Event] = []
    rig.executor.follow(handle, on_event=events.append)
    told = {event.data["replica"]: event.data["step"] for event in events if event.kind == "progress"}
    assert told == {"worker-0": 0, "worker-1": 1}


def test_the_rank_that_failed_first_is_named(rig: Rig) -> None:
    code = RANK + "import sys, time; rank == '1' and (print('bad shard'), sys.exit(9)); time.sleep(120)"
    handle = rig.executor.ensure(mpijob("j", code))
    outcome = rig.executor.follow(handle)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert (outcome.first_failure.replica, outcome.first_failure.exit_code) == ("worker-1", 9)
    assert outcome.first_failure.last_lines == ["bad shard"]
    assert rig.alive(handle) == []


def test_a_killed_rank_restarts_the_whole_job_where_the_launcher_may(rig: Rig) -> None:
    code = "import os, time; time.sleep(120 * (os.environ['SHIPWAY_RESTART'] == '0'))"
    handle = rig.executor.ensure(mpijob("j", code, restart="OnFailure", backoffLimit=3))
    following = Following(rig.executor, handle)
    wait_for(lambda: {"worker-0", "worker-1"} <= set(rig.alive(handle)), "both ranks run")
    rig.kill(handle, "worker-1")
    outcome = following.outcome()
    assert (outcome.state, outcome.restarts) == ("Succeeded", 1)
    assert rig.alive(handle) == []


def test_a_fault_finds_its_rank(rig: Rig) -> None:
    code = REPORT + "import os, time; report(step=1); time.sleep(120 * (os.environ['SHIPWAY_RESTART'] == '0'))"
    manifest = mpijob("j", code, restart="ExitCode")
    manifest["metadata"]["annotations"] = {"shipway.dev/fault": "kill worker-1 when progress.step>=1 with KILL"}
    events: list[Event] = []
    outcome = rig.executor.follow(rig.executor.ensure(manifest), on_event=events.append)
    assert (outcome.state, outcome.restarts) == ("Succeeded", 1)
    assert [event.data["replica"] for event in events if event.kind == "fault"] == ["worker-1"]


def test_a_launcher_under_v2beta1_is_a_batch_job_that_tries_again(rig: Rig) -> None:
    launcher = ["sh", "-c", 'test "$SHIPWAY_RESTART" = 2']
    handle = rig.executor.ensure(mpijob("j", "", version="v2beta1", launcher=launcher, backoffLimit=2))
    outcome = rig.executor.follow(handle)
    assert (outcome.state, outcome.restarts) == ("Succeeded", 2)
    handle = rig.executor.ensure(mpijob("k", "", version="v2beta1", launcher=["false"], backoffLimit=1))
    assert rig.executor.follow(handle).state == "Failed"


@pytest.mark.parametrize("victim", ["launcher", "supervisor"])
def test_ranks_die_with_a_killed_mpirun_or_supervisor(rig: Rig, victim: str) -> None:
    assert isinstance(rig, ProcessRig)
    handle = rig.executor.ensure(mpijob("j", SLEEP))
    following = Following(rig.executor, handle)
    wait_for(lambda: {"worker-0", "worker-1"} <= set(rig.alive(handle)), "both ranks run")
    if victim == "launcher":
        rig.kill(handle, "launcher-0")
    else:
        state = json.loads((rig.context.home / "jobs" / "j" / "state.json").read_text())
        os.kill(state["pid"], signal.SIGKILL)
    assert following.outcome().state == "Failed"
    wait_for(lambda: rig.pids(handle) == [], "nothing is left")
    assert not reaper.scratch(rig.uid(handle)).exists()
    assert not reaper.shared_memory(rig.uid(handle)).exists()
