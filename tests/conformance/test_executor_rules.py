"""How jobs end: the training operator's table, which each executor must reproduce."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from shipway.executors import Manifest, Outcome
from tests.fixtures.executor_rigs import Following, ProcessRig, Rig
from tests.fixtures.manifests import SLEEP, STUBBORN, batch_job, tfjob, wait_for

FAIL_ONCE = "import os, sys; sys.exit({code} if os.environ['SHIPWAY_RESTART'] == '0' else 0)"


def exits(code: int) -> str:
    return f"import sys; sys.exit({code})"


def play(rig: Rig, manifest: Manifest) -> Outcome:
    return rig.executor.follow(rig.executor.ensure(manifest))


# name: manifest, state, restarts, (first failed replica, its exit code)
TABLE: dict[str, tuple[Manifest, str, int, tuple[str, int] | None]] = {
    "chief and workers end well": (
        tfjob("j", {"Chief": exits(0), "Worker": (2, exits(0))}), "Succeeded", 0, None
    ),
    "the chief alone decides": (
        tfjob("j", {"Chief": exits(0), "Worker": (2, SLEEP)}), "Succeeded", 0, None
    ),
    "without a chief worker-0 decides": (
        tfjob("j", {"Worker": (2, "import os, time; os.environ['SHIPWAY_REPLICA'] == 'worker-0' or time.sleep(120)")}),
        "Succeeded", 0, None,
    ),
    "an evaluator decides nothing": (
        tfjob("j", {"Evaluator": SLEEP, "Worker": exits(0)}), "Succeeded", 0, None
    ),
    "parameter servers never end and are ended": (
        tfjob("j", {"PS": (2, SLEEP), "Worker": exits(0)}), "Succeeded", 0, None
    ),
    "AllWorkers waits for each": (
        tfjob("j", {"Worker": (3, "import os, time; time.sleep(float(os.environ['SHIPWAY_REPLICA'][-1]) / 5)")},
              success="AllWorkers"), "Succeeded", 0, None,
    ),
    "AllWorkers fails with one": (
        tfjob("j", {"Worker": (2, "import os, sys, time; os.environ['SHIPWAY_REPLICA'] == 'worker-1' and sys.exit(3);"
                                  "time.sleep(120)")}, success="AllWorkers"), "Failed", 0, ("worker-1", 3),
    ),
    "Never: a worker that exits 7 fails the job": (
        tfjob("j", {"Chief": SLEEP, "Worker": exits(7)}), "Failed", 0, ("worker-0", 7)
    ),
    "Never: a retryable exit code fails the job all the same": (
        tfjob("j", {"Worker": exits(143)}), "Failed", 0, ("worker-0", 143)
    ),
    "ExitCode: 1 is permanent": (
        tfjob("j", {"Chief": SLEEP, "Worker": exits(1)}, restart="ExitCode"), "Failed", 0, ("worker-0", 1)
    ),
    "ExitCode: 127 is permanent": (
        tfjob("j", {"Worker": exits(127)}, restart="ExitCode"), "Failed", 0, ("worker-0", 127)
    ),
    "ExitCode: 128 is tried again": (
        tfjob("j", {"Worker": FAIL_ONCE.format(code=128)}, restart="ExitCode"), "Succeeded", 1, None
    ),
    "ExitCode: 255 is tried again": (
        tfjob("j", {"Worker": FAIL_ONCE.format(code=255)}, restart="ExitCode"), "Succeeded", 1, None
    ),
    "OnFailure: any failure is tried again": (
        tfjob("j", {"Worker": FAIL_ONCE.format(code=1)}, restart="OnFailure"), "Succeeded", 1, None
    ),
    "OnFailure: a success is not": (
        tfjob("j", {"Worker": exits(0)}, restart="OnFailure"), "Succeeded", 0, None
    ),
    "Always: even a success is": (
        tfjob("j", {"Worker": exits(0)}, restart="Always", backoffLimit=2), "Failed", 2, None
    ),
    "OnFailure: the restart that reaches backoffLimit fails the job": (
        tfjob("j", {"Worker": exits(5)}, restart="OnFailure", backoffLimit=2), "Failed", 2, ("worker-0", 5)
    ),
    "OnFailure: backoffLimit 0 allows none": (
        tfjob("j", {"Worker": exits(5)}, restart="OnFailure", backoffLimit=0), "Failed", 1, ("worker-0", 5)
    ),
    "ExitCode: backoffLimit holds for each replica": (
        tfjob("j", {"Chief": FAIL_ONCE.format(code=137), "Worker": (2, FAIL_ONCE.format(code=137) + "; import time;"
              "time.sleep(120)")}, restart="ExitCode", backoffLimit=1), "Succeeded", 3, None,
    ),
    "ExitCode: a replica that goes on failing ends at backoffLimit": (
        tfjob("j", {"Worker": exits(143)}, restart="ExitCode", backoffLimit=1), "Failed", 2, ("worker-0", 143)
    ),
    "batch Job: a pod that fails is followed by another": (
        batch_job("j", "import os, sys; sys.exit(os.environ['SHIPWAY_RESTART'] < '2')", backoffLimit=2),
        "Succeeded", 2, None,
    ),
    "batch Job: the failure beyond backoffLimit is the last": (
        batch_job("j", exits(7), backoffLimit=1), "Failed", 1, ("pod-0", 7)
    ),
    "batch Job: OnFailure restarts in place": (
        batch_job("j", exits(7), restart="OnFailure", backoffLimit=2), "Failed", 2, ("pod-0", 7)
    ),
    "a command that does not exist is permanent": (
        tfjob("j", {"Worker": ["no-such-program"]}, restart="ExitCode"), "Failed", 0, ("worker-0", 127)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(TABLE))
def test_a_job_ends_as_under_the_operator(rig: Rig, case: str) -> None:
    manifest, state, restarts, first = TABLE[case]
    handle = rig.executor.ensure(manifest)
    outcome = rig.executor.follow(handle)
    assert outcome.state == state, outcome
    if first is None:
        assert state == "Failed" or outcome.first_failure is None
    else:
        assert outcome.first_failure is not None
        assert (outcome.first_failure.replica, outcome.first_failure.exit_code) == first
    # A peer that is ended with the job may or may not have been restarted by then.
    assert outcome.restarts == restarts or len(manifest["spec"].get("tfReplicaSpecs", [])) > 1
    wait_for(lambda: rig.alive(handle) == [], "its replicas are gone")


def test_a_killed_worker_under_never_fails_the_job(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Chief": SLEEP, "Worker": (2, SLEEP)}))
    following = Following(rig.executor, handle)
    wait_for(lambda: len(rig.alive(handle)) == 3, "all replicas run")
    rig.kill(handle, "worker-1")
    outcome = following.outcome()
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert outcome.first_failure.replica == "worker-1"
    assert outcome.first_failure.exit_code == 137
    assert outcome.first_failure.reason == "Signal 9 (SIGKILL)"
    assert "1 Worker replica(s) failed" in outcome.message
    wait_for(lambda: rig.alive(handle) == [], "its replicas are gone")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_replica_ended_by_a_signal_is_restarted_under_exit_code(rig: Rig, number: int) -> None:
    waits_once = "import os, time; os.environ['SHIPWAY_RESTART'] != '0' or time.sleep(120)"
    handle = rig.executor.ensure(tfjob("j", {"Worker": waits_once}, restart="ExitCode"))
    if number != signal.SIGKILL and not isinstance(rig, ProcessRig):
        pytest.skip("the first process of a container dies of no other signal from outside")
    following = Following(rig.executor, handle)
    rig.kill(handle, "worker-0", number)
    outcome = following.outcome()
    assert (outcome.state, outcome.restarts) == ("Succeeded", 1)
    assert following.saw("ended", exit_code=128 + number)
    assert following.saw("restarted", replica="worker-0", restart=1)


def test_the_first_failure_is_the_one_that_came_first_not_the_lost_peers(rig: Rig) -> None:
    code = """
import os, sys, time
if os.environ["SHIPWAY_REPLICA"] == "worker-1":
    print("disk quota exceeded"); sys.exit(9)
time.sleep(120)
"""
    outcome = play(rig, tfjob("j", {"Chief": SLEEP, "Worker": (3, code)}))
    assert outcome.first_failure is not None
    assert outcome.first_failure.replica == "worker-1"
    assert outcome.first_failure.reason == "Error"
    assert outcome.first_failure.last_lines == ["disk quota exceeded"]


def test_a_replica_whose_peer_was_lost_is_not_blamed_although_its_own_end_is_the_permanent_one(rig: Rig) -> None:
    # worker-1 is killed (137: tried again); its peer cannot go on without it and exits 1 (permanent).
    code = (
        "import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(1)); print(1, flush=True);" + SLEEP
    )
    handle = rig.executor.ensure(tfjob("j", {"Worker": (2, code)}, restart="ExitCode"))
    following = Following(rig.executor, handle)
    wait_for(lambda: len(list(rig.executor.logs(handle))) == 2, "both listen to SIGUSR1")
    rig.kill(handle, "worker-1")
    wait_for(lambda: following.saw("ended", exit_code=137), "worker-1 is lost")
    rig.kill(handle, "worker-0", signal.SIGUSR1)
    outcome = following.outcome()
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert (outcome.first_failure.replica, outcome.first_failure.exit_code) == ("worker-1", 137)


def test_last_lines_are_the_last_twenty(rig: Rig) -> None:
    outcome = play(rig, tfjob("j", {"Worker": "[print('line', i) for i in range(100)]; raise SystemExit(4)"}))
    assert outcome.first_failure is not None
    assert outcome.first_failure.last_lines == [f"line {i}" for i in range(80, 100)]


def test_active_deadline_seconds_is_kept(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": (2, SLEEP)}, activeDeadlineSeconds=1))
    outcome = rig.executor.follow(handle)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert outcome.first_failure.reason == "Deadline"
    assert "activeDeadlineSeconds 1" in outcome.message
    wait_for(lambda: rig.alive(handle) == [], "its replicas are gone")


def test_the_followers_own_deadline_ends_the_job_as_failed(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))
    outcome = rig.executor.follow(handle, deadline_s=0.2)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert outcome.first_failure.reason == "Deadline"
    wait_for(lambda: rig.alive(handle) == [], "its replicas are gone")


def test_a_replica_that_ignores_sigterm_is_killed_after_its_grace(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": STUBBORN}, grace_s=1))
    wait_for(lambda: [line.text for line in rig.executor.logs(handle)] == ["ready"], "it ignores SIGTERM")
    rig.executor.cancel(handle)
    wait_for(lambda: rig.alive(handle) == [], "its replicas are gone")
    assert rig.executor.follow(handle).state == "Cancelled"


def test_a_replica_may_use_its_grace_to_save(rig: Rig) -> None:
    code = """
import signal, sys, time
def save(*_):
    time.sleep(0.3); print("saved", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, save); print("ready", flush=True); time.sleep(120)
"""
    handle = rig.executor.ensure(tfjob("j", {"Worker": code}, grace_s=20))
    wait_for(lambda: [line.text for line in rig.executor.logs(handle)] == ["ready"], "it listens to SIGTERM")
    rig.executor.cancel(handle)
    assert [line.text for line in rig.executor.logs(handle)] == ["ready", "saved"]


def test_suspend_stops_the_replicas_and_resume_starts_them_again(rig: Rig) -> None:
    code = "import os, time; os.environ['SHIPWAY_RESTART'] != '0' or time.sleep(120)"
    handle = rig.executor.ensure(tfjob("j", {"Worker": (2, code)}, success="AllWorkers"))
    wait_for(lambda: len(rig.alive(handle)) == 2, "both run")
    rig.executor.suspend(handle)
    wait_for(lambda: rig.alive(handle) == [], "its replicas are gone")
    following = Following(rig.executor, handle)
    wait_for(lambda: following.saw("suspended"), "its follower hears of it")
    rig.executor.resume(handle)
    outcome = following.outcome()
    assert (outcome.state, outcome.restarts) == ("Succeeded", 0)  # a resume is no restart that counts


def test_a_job_created_suspended_waits_for_resume(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": exits(0)}, suspend=True))
    again = rig.another().ensure(tfjob("j", {"Worker": exits(0)}, suspend=True))
    assert again.adopted
    wait_for(lambda: rig.alive(handle) == [], "its replicas are gone")
    rig.executor.resume(handle)
    assert rig.executor.follow(handle).state == "Succeeded"


def test_cancel_is_safe_to_call_twice_and_after_the_end(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))
    rig.executor.cancel(handle)
    rig.executor.cancel(handle)
    assert rig.executor.follow(handle).state == "Cancelled"
    done = rig.executor.ensure(tfjob("k", {"Worker": exits(0)}))
    assert rig.executor.follow(done).state == "Succeeded"
    rig.executor.cancel(done)
    assert rig.executor.follow(done).state == "Succeeded"


@pytest.mark.process_only("looks into the local folder of jobs")
def test_an_expired_job_is_forgotten_here_and_remembered_by_its_record(rig: Rig, tmp_path: Path) -> None:
    manifest: dict[str, Any] = tfjob("j", {"Worker": exits(0)}, ttlSecondsAfterFinished=0)
    assert play(rig, manifest).state == "Succeeded"
    again = rig.executor.ensure(manifest)
    assert again.adopted
    assert not (tmp_path / "home" / "jobs" / "j").exists()
    assert rig.executor.follow(again).state == "Succeeded"
