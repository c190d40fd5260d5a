"""Jobs die with their step, whatever ends it, and leave nothing behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shipway.executors import Handle, Manifest
from shipway.executors.process import reaper
from shipway.executors.process.folder import JobFolder
from shipway.storage import Store
from tests.fixtures.executor_rigs import Following, ProcessRig
from tests.fixtures.manifests import SLEEP, STUBBORN, tfjob, wait_for

LOOPS = int(os.environ.get("SHIPWAY_LOOPS", "20"))
ROOT = Path(__file__).parents[2]

# A replica with a child in its group and one in a session of its own.
FAMILY = """
import subprocess, sys, time
nap = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(120)"]
subprocess.Popen(nap); subprocess.Popen(nap, start_new_session=True)
print("ready", flush=True); time.sleep(120)
"""


class Followers:
    """Processes that ensure and follow a job, and die as told."""

    def __init__(self, rig: ProcessRig) -> None:
        command = [sys.executable, "-m", "tests.fixtures.follower", str(rig.context.home), rig.context.store_uri]
        self._server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._pids: list[int] = []

    def start(self, manifest: Manifest) -> dict[str, Any]:
        """Its process id, the job's name, and whether it adopted it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(manifest) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        self._pids.append(answer["pid"])
        return answer

    def close(self) -> None:
        """Ends them all."""
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.communicate()


@pytest.fixture
def process_rig(tmp_path: Path) -> Iterator[ProcessRig]:
    rig = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    yield rig
    rig.close()


@pytest.fixture
def followers(process_rig: ProcessRig) -> Iterator[Followers]:
    made = Followers(process_rig)
    yield made
    made.close()


def folder_of(rig: ProcessRig, name: str) -> JobFolder:
    return JobFolder(rig.context.home / "jobs" / name)


def handle_of(rig: ProcessRig, name: str) -> Handle:
    return rig.executor.find(name)


def nothing_is_left(rig: ProcessRig, name: str) -> bool:
    """No replica, none of their children, and no supervisor."""
    uid = rig.uid(handle_of(rig, name))
    return not reaper.find(uid) and not folder_of(rig, name).is_supervised()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_job_ends_with_its_only_follower(process_rig: ProcessRig, followers: Followers, number: int) -> None:
    manifest = tfjob("j", {"Chief": FAMILY, "Worker": (2, SLEEP)})
    follower = followers.start(manifest)
    wait_for(lambda: len(process_rig.pids(handle_of(process_rig, "j"))) == 5, "three replicas and two children run")
    os.kill(follower["pid"], number)
    wait_for(lambda: nothing_is_left(process_rig, "j"), "everything is gone")
    assert folder_of(process_rig, "j").state()["state"] == "Cancelled"
    again = process_rig.executor.ensure(manifest)
    assert (again.name, again.adopted) == ("j-r1", False)


def test_a_job_goes_on_as_long_as_one_follower_lives(process_rig: ProcessRig, followers: Followers) -> None:
    waits = "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0));" \
            "print('ready', flush=True); signal.pause()"  # fmt: skip
    manifest = tfjob("j", {"Worker": waits})
    first, second = followers.start(manifest), followers.start(manifest)
    assert (first["adopted"], second["adopted"]) == (False, True)
    mine = process_rig.executor.ensure(manifest)
    following = Following(process_rig.executor, mine)
    wait_for(lambda: list(process_rig.executor.logs(mine)), "it listens to SIGUSR1")
    before = process_rig.pids(mine)
    for follower in (first, second):
        os.kill(follower["pid"], signal.SIGKILL)
    # The supervisor looks for followers every 0.4 s: this is the time in which it could go wrong.
    looked = folder_of(process_rig, "j").state()["updated_at"]
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert process_rig.pids(mine) == before
    assert folder_of(process_rig, "j").state()["updated_at"] == looked
    process_rig.kill(mine, "worker-0", signal.SIGUSR1)
    assert following.outcome().state == "Succeeded"


def test_what_ignores_sigterm_is_killed_when_the_follower_is_gone(
    process_rig: ProcessRig, followers: Followers
) -> None:
    follower = followers.start(tfjob("j", {"Worker": STUBBORN}, grace_s=1))
    handle = handle_of(process_rig, "j")
    wait_for(lambda: list(process_rig.executor.logs(handle)), "it ignores SIGTERM")
    os.kill(follower["pid"], signal.SIGKILL)
    wait_for(lambda: nothing_is_left(process_rig, "j"), "everything is gone")


@pytest.mark.soak
def test_a_follower_killed_at_any_moment_leaves_nothing_and_the_next_one_goes_on(
    process_rig: ProcessRig, followers: Followers
) -> None:
    chance = random.Random(20)
    manifest = tfjob("j", {"Worker": (2, SLEEP)}, grace_s=2)
    names: list[str] = []
    for _ in range(LOOPS):
        follower = followers.start(manifest)
        if follower["adopted"]:  # it came before the supervisor looked for followers
            assert follower["name"] == names[-1]
        else:
            assert follower["name"] not in names
            assert all(process_rig.pids(handle_of(process_rig, name)) == [] for name in names[-3:]), "two at once"
            names.append(follower["name"])
        time.sleep(chance.uniform(0, 0.3))
        os.kill(follower["pid"], signal.SIGKILL)
        time.sleep(chance.choice((0, 0.5)))
    for name in names:
        wait_for(lambda name=name: nothing_is_left(process_rig, name), f"{name} is gone")
        assert folder_of(process_rig, name).state()["state"] == "Cancelled"


@pytest.mark.soak
def test_a_step_killed_while_it_starts_the_job_leaves_nothing_in_the_way(process_rig: ProcessRig) -> None:
    chance = random.Random(23)
    manifest = tfjob("j", {"Worker": "pass"})
    for _ in range(LOOPS):
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                process_rig.another().ensure(manifest)
            os._exit(0)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert process_rig.executor.follow(process_rig.executor.ensure(manifest)).state == "Succeeded"


@pytest.mark.soak
def test_a_replica_killed_at_any_moment_is_restarted(process_rig: ProcessRig) -> None:
    chance = random.Random(21)
    code = "import os, time; time.sleep(0.25)"
    for number in range(LOOPS):
        handle = process_rig.executor.ensure(
            tfjob(f"j{number}", {"Worker": (2, code)}, restart="ExitCode", success="AllWorkers")
        )
        following = Following(process_rig.executor, handle)
        time.sleep(chance.uniform(0, 0.5))
        struck = process_rig.pids(handle, f"worker-{chance.randrange(2)}")
        for pid in struck[:1]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                struck = []
        outcome = following.outcome()
        assert outcome.state == "Succeeded"
        assert outcome.restarts <= len(struck)
        assert process_rig.pids(handle) == []


@pytest.mark.soak
def test_a_supervisor_killed_at_any_moment_takes_all_with_it_and_the_follower_says_so(process_rig: ProcessRig) -> None:
    chance = random.Random(22)
    for number in range(max(LOOPS // 2, 1)):
        handle = process_rig.executor.ensure(tfjob(f"j{number}", {"Chief": FAMILY, "Worker": SLEEP}))
        following = Following(process_rig.executor, handle)
        folder = folder_of(process_rig, handle.name)
        pid = wait_for(lambda folder=folder: folder.state().get("pid"), "the supervisor has written its first state")
        time.sleep(chance.uniform(0, 0.2))
        os.kill(pid, signal.SIGKILL)
        outcome = following.outcome()
        assert outcome.state == "Failed"
        assert outcome.first_failure is not None
        assert outcome.first_failure.reason == "Lost"
        assert f"its supervisor (process {pid}) died" in outcome.message
        assert process_rig.pids(handle) == []


def test_replicas_die_with_a_killed_supervisor_though_nobody_looks(
    process_rig: ProcessRig, followers: Followers
) -> None:
    follower = followers.start(tfjob("j", {"Worker": (2, SLEEP)}))
    handle = handle_of(process_rig, "j")
    wait_for(lambda: len(process_rig.alive(handle)) == 2, "both run")
    os.kill(follower["pid"], signal.SIGSTOP)  # so that it cannot sweep
    os.kill(folder_of(process_rig, "j").state()["pid"], signal.SIGKILL)
    wait_for(lambda: process_rig.pids(handle) == [], "the kernel ended them")
    os.kill(follower["pid"], signal.SIGKILL)
    again = process_rig.executor.ensure(tfjob("j", {"Worker": (2, SLEEP)}), backoff_limit=1)
    assert (again.name, again.adopted) == ("j-r1", False)


def test_a_supervisor_asked_to_end_ends_the_job_as_cancelled(process_rig: ProcessRig) -> None:
    handle = process_rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))
    wait_for(lambda: process_rig.alive(handle), "it runs")
    os.kill(folder_of(process_rig, "j").state()["pid"], signal.SIGTERM)
    assert process_rig.executor.follow(handle).state == "Cancelled"
    assert process_rig.pids(handle) == []


def test_a_supervisor_that_does_not_answer_is_killed_with_all_it_has(process_rig: ProcessRig) -> None:
    handle = process_rig.executor.ensure(tfjob("j", {"Worker": (2, SLEEP)}, grace_s=0))
    wait_for(lambda: len(process_rig.alive(handle)) == 2, "both run")
    os.kill(folder_of(process_rig, "j").state()["pid"], signal.SIGSTOP)
    process_rig.executor.cancel(handle)
    outcome = process_rig.executor.follow(handle)
    assert outcome.state == "Cancelled"
    assert "did not answer" in outcome.message
    assert process_rig.pids(handle) == []


def test_a_terminated_step_ends_its_job_records_it_and_exits_as_cancelled(
    process_rig: ProcessRig, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(tfjob("j", {"Chief": FAMILY, "Worker": SLEEP})))
    code = f"""
import json
from shipway.executors import current as executor_in_force
from shipway.steps import step
with step("train") as current:
    executor = executor_in_force()
    handle = executor.ensure(json.load(open({str(tmp_path / "manifest.json")!r})))
    current.job(handle.name, on_cancel=lambda: executor.cancel(handle))
    executor.follow(handle)
"""
    surroundings = {
        "SHIPWAY_HOME": str(process_rig.context.home),
        "SHIPWAY_STORE": process_rig.context.store_uri,
        "SHIPWAY_RUN": "run",
    }
    launch = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **surroundings}, stderr=subprocess.PIPE)
    wait_for(lambda: (process_rig.context.home / "jobs" / "j" / "plan.json").exists(), "the job is there")
    wait_for(lambda: len(process_rig.pids(handle_of(process_rig, "j"))) == 4, "two replicas and two children run")
    launch.send_signal(signal.SIGTERM)
    _, errors = launch.communicate()
    assert launch.returncode == 130, errors
    assert nothing_is_left(process_rig, "j")
    record = json.loads(Store.open(process_rig.context.store_uri).get("runs/run/steps/train.json"))
    assert (record["state"], record["jobs"]) == ("Cancelled", ["j"])


def test_running_lists_what_down_has_to_end(process_rig: ProcessRig) -> None:
    handles = [process_rig.executor.ensure(tfjob(name, {"Worker": SLEEP})) for name in ("a", "b")]
    assert [handle.name for handle in process_rig.executor.running()] == ["a", "b"]
    for handle in handles:
        process_rig.executor.cancel(handle)
    wait_for(lambda: process_rig.executor.running() == [], "none runs")
