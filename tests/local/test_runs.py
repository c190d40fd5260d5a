"""Local runs: what they record, how they end, and that nothing outlives them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shipway import runs
from shipway.context import Context
from shipway.errors import InvalidSpec, NotFound, ShipwayError
from shipway.local.folder import RunFolder

PIPELINES = Path(__file__).with_name("pipelines.py")
DEADLINE_S = 60


def folder_of(run: runs.Run) -> RunFolder:
    return RunFolder(Context.current().home, run.key)


def cancel(run: runs.Run) -> tuple[str, str]:
    """State before and after, as another process asks for it."""
    found = runs.load_run(run.key)
    return found.state, found.cancel()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    return tmp_path / "home"


def play(name: str, **params: object) -> runs.Run:
    return runs.run(f"{PIPELINES}:{name}", params, wait=True)


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"still waiting until {what}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status not in "ZX"


def test_null_within_a_parameter_reaches_the_step_and_a_task_called_host_has_a_log_of_its_own(home: Path) -> None:
    given = {"training": {"early_stopping": None, "layers": ["a", None]}}
    run = play("hosting", given=given)
    assert run.state == "Succeeded", run.record
    assert json.dumps(given, sort_keys=True) in folder_of(run).task_log("host").read_text().splitlines()
    assert "Running pipeline" not in folder_of(run).task_log("host").read_text()  # kfp's words are the host's log
    assert folder_of(run).log != folder_of(run).task_log("host")


def test_a_step_that_leaves_by_sys_exit_fails_the_run(home: Path) -> None:
    run = play("leaving")
    assert run.state == "Failed"
    assert run.record.error is not None
    assert "SystemExit" in run.record.error.message


@pytest.mark.parametrize(
    ("name", "params"),
    [("vanishing", {"within_a_step": True}), ("vanishing", {"within_a_step": False}), ("leaving_early", {})],
    ids=["in a step", "outside of one", "sys.exit"],
)
def test_a_step_that_ends_with_0_before_it_is_done_fails_the_run(
    home: Path, name: str, params: dict[str, object]
) -> None:
    run = play(name, **params)
    assert run.state == "Failed"
    assert run.record.error is not None
    assert "ended with 0 before the step was done" in run.record.error.message


def test_a_failure_of_kfps_own_that_is_no_tasks_fails_the_run(home: Path) -> None:
    run = play("looping", items=["no number"])
    assert run.state == "Failed"
    assert run.record.error is not None
    assert not [step.task for step in run.record.steps if step.state == "Running"]
    assert "\x1b" not in run.record.error.message


def test_a_run_that_had_done_all_its_work_when_it_was_stopped_is_not_called_cancelled(
    home: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    run = runs.run(f"{PIPELINES}:finishing", {"marker": str(marker)})
    until(marker.exists, "the step runs")
    assert cancel(run) == ("Running", "Succeeded")
    assert run.wait().state == "Succeeded"
    assert cancel(run) == ("Succeeded", "Succeeded")


def test_a_run_that_was_stopped_half_way_is_called_cancelled_when_it_has_ended(home: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    run = runs.run(f"{PIPELINES}:hanging", {"marker": str(marker)})
    until(lambda: marker.exists() and bool(marker.read_text()), "the step runs")
    assert cancel(run) == ("Running", "Cancelled")
    assert not lives(int(marker.read_text()))


def test_a_run_that_has_not_told_its_end_is_found_while_it_goes_on_and_when_its_host_was_killed(
    home: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    run = runs.run(f"{PIPELINES}:hanging", {"marker": str(marker)})
    until(marker.exists, "the step runs")
    found = runs.load_run(run.key[:-1])
    assert (found.state, [step.state for step in found.steps.values()]) == ("Running", ["Succeeded", "Running"])
    assert [each.key for each in runs.list_runs()] == [run.key]

    os.kill(int(folder_of(run).lock.read_text()), signal.SIGKILL)
    until(lambda: not folder_of(run).host_lives(), "the host is gone")
    found = runs.load_run(run.key)
    assert (found.state, found.steps["hang"].state) == ("Failed", "Failed")
    assert found.record.error is not None
    assert "its host process ended before the run did" in found.record.error.message
    assert cancel(run) == ("Failed", "Failed")
    until(lambda: not lives(int(marker.read_text())), "the step has ended, too")

    (folder_of(run).path / "request.json").write_text("{")
    assert not runs.list_runs()


def test_a_host_that_cannot_be_ended_is_not_called_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shipway.local.folder.KILL_S", 0.5)
    folder = RunFolder(home, "stuck")
    folder.path.mkdir(parents=True)
    with folder.lock.open("w") as held:  # by this process, whose id the file does not tell
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ShipwayError, match=r"run stuck: its host, .* cannot be ended"):
            folder.stop_host(grace_s=0.5)


def test_a_run_records_every_step_and_the_branch_it_skipped(home: Path) -> None:
    run = play("chain", start=1)
    assert run.state == "Succeeded"
    assert {task: step.state for task, step in run.steps.items()} == {
        "add": "Succeeded",
        "add-2": "Succeeded",
        "add-3": "Skipped",
    }
    assert "adding 1 to 1" in folder_of(run).task_log("add").read_text()
    (listed,) = runs.list_runs()
    assert listed.key == run.key
    assert runs.load_run(run.key[:6]).state == "Succeeded"


def test_the_second_run_comes_from_the_cache_and_a_fresh_one_does_not(home: Path) -> None:
    first = play("chain", start=1)
    again = play("chain", start=1)
    assert again.key == first.key
    assert {step.state for step in again.steps.values()} == {"Cached", "Skipped"}
    fresh = runs.run(f"{PIPELINES}:chain", {"start": 1}, fresh=True, wait=True)
    assert fresh.key != first.key
    assert [step.state for step in fresh.steps.values()] == ["Succeeded", "Succeeded", "Skipped"]


def test_a_failed_run_typed_again_goes_on_behind_its_finished_steps(home: Path, tmp_path: Path) -> None:
    marker = str(tmp_path / "marker")
    first = play("failing_once", marker=marker)
    assert first.state == "Failed"
    assert first.record.error is not None
    assert "only the second time" in first.record.error.message
    again = play("failing_once", marker=marker)
    assert again.state == "Succeeded"
    assert again.steps["add"].state == "Cached"


def test_a_steps_own_error_is_what_the_run_says(home: Path) -> None:
    run = play("refusing", start=4)
    assert run.state == "Failed"
    assert run.record.error is not None
    assert run.record.error.message == "a: got 5, expected less"


def test_a_failing_step_is_retried_at_once_and_a_users_mistake_is_not(home: Path, tmp_path: Path) -> None:
    assert play("retried_once", marker=str(tmp_path / "once")).state == "Succeeded"
    refused = play("refused_with_retries", marker=str(tmp_path / "refused"))
    assert refused.state == "Failed"
    assert (tmp_path / "refused").read_text() == "x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("victim", ["caller", "host"])
@pytest.mark.parametrize("pipeline", ["hanging", "launching"])
def test_nothing_outlives_a_run_that_is_killed(
    home: Path, tmp_path: Path, number: signal.Signals, victim: str, pipeline: str
) -> None:
    marker = tmp_path / "marker"
    code = (
        f"from shipway import runs as r; r.run({str(PIPELINES) + ':' + pipeline!r}, marker={str(marker)!r}, wait=True)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], env=os.environ.copy(), stderr=subprocess.DEVNULL)
    until(lambda: caller.poll() is not None or (marker.exists() and bool(marker.read_text())), "the step runs")
    assert caller.poll() is None
    step = int(marker.read_text())
    (folder,) = (home / "runs").iterdir()
    host = int(subprocess.check_output(["pgrep", "-P", str(caller.pid)]).split()[0])
    os.kill(caller.pid if victim == "caller" else host, number)
    until(lambda: not lives(step), "the step is gone")
    until(lambda: not lives(host), "the host is gone")
    if pipeline == "launching":
        until(Path(f"{marker}.cancelled").exists, "the step's job is cancelled")
    if victim == "host":
        assert caller.wait(DEADLINE_S) in (0, 1)
    else:
        caller.wait(DEADLINE_S)
    assert not RunFolder(home, folder.name).host_lives()


def test_the_same_run_typed_twice_at_once_is_followed_not_doubled(home: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    first = runs.run(f"{PIPELINES}:hanging", marker=str(marker))
    until(lambda: marker.exists() and bool(marker.read_text()), "the step runs")
    step = marker.read_text()
    second = runs.run(f"{PIPELINES}:hanging", marker=str(marker))
    assert second.key == first.key
    next(event for event in second.events() if event["kind"] == "step")
    assert marker.read_text() == step
    first.cancel()
    assert second.wait().state == "Cancelled"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"strat": 1}, r"strat: unknown parameter of .*; expected one of start, label \(did you mean 'start'"),
        ({"start": "one"}, "start: got 'one', expected a whole number"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_starts(
    home: Path, params: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        runs.run(f"{PIPELINES}:chain", params)
    assert not (home / "runs").exists()


def test_an_unknown_pipeline_names_the_nearest(home: Path) -> None:
    with pytest.raises(NotFound, match="did you mean 'train_and_deploy'"):
        runs.run("train_and_deplo")


def test_a_file_without_that_pipeline_names_those_it_has(home: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"has no pipeline .*chain"):
        runs.run(f"{PIPELINES}:chian")


def test_a_key_leads_to_its_run_and_a_run_whose_host_was_killed_goes_on(home: Path, tmp_path: Path) -> None:
    first = runs.run(f"{PIPELINES}:chain", {"start": 1}, key="e/1", started_by="the upload hook", wait=True)
    assert (first.state, first.started_by, first.is_new) == ("Succeeded", "the upload hook", True)
    other = runs.run(f"{PIPELINES}:chain", {"start": 2}, key="e/1")
    assert (other.key, other.is_new, other.params, other.state) == (first.key, False, {"start": 1}, "Succeeded")
    assert runs.load_run("e/1").record.idempotency_key == "e/1"
    shutil.rmtree(folder_of(first).path)  # as on another machine that has the same store
    assert runs.run(f"{PIPELINES}:chain", key="e/1").is_new is False
    with pytest.raises(InvalidSpec, match="fresh: not with an idempotency key"):
        runs.run(f"{PIPELINES}:chain", key="e/1", fresh=True)

    marker = str(tmp_path / "marker")
    failed = runs.run(f"{PIPELINES}:failing_once", {"marker": marker}, key="e/2", wait=True)
    assert runs.run(f"{PIPELINES}:failing_once", {"marker": marker}, key="e/2").state == failed.state == "Failed"
    (folder_of(failed).path / "events.jsonl").write_text("")  # as a host leaves it that was killed
    (tmp_path / "store" / "runs" / failed.key / "run.json").unlink()
    again = runs.run(f"{PIPELINES}:failing_once", {"marker": marker}, key="e/2", wait=True)
    assert (again.key, again.is_new, again.state) == (failed.key, True, "Succeeded")


def test_two_with_one_key_at_the_same_moment_are_one_run(home: Path) -> None:
    pipeline = f"{PIPELINES}:chain"
    code = f"from shipway import run; r = run({pipeline!r}, key='e-1', wait=True); print(r.key, r.is_new, r.state)"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(each.communicate(timeout=DEADLINE_S)[0].split() for each in both)
    key = said[0][0]
    assert said == [[key, "False", "Succeeded"], [key, "True", "Succeeded"]]


def test_retry_goes_on_with_the_same_run_and_a_clone_is_another_one(home: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    run = play("failing_once", marker=str(marker))
    assert run.retry().wait().state == "Succeeded"
    assert runs.load_run(run.key).steps["add"].state == "Cached"
    with pytest.raises(InvalidSpec, match="only a failed or cancelled run can be retried"):
        run.retry()
    clone = run.clone(marker=str(tmp_path / "other")).wait()
    assert (clone.key != run.key, clone.state) == (True, "Failed")
    assert "only the second time" in clone.logs()
    assert "run.logs(), run.retry()" in str(clone)
