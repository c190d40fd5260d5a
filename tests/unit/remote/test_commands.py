"""The commands against the stand-in: what a person sees, what a script gets, how it ends."""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shipway.errors import JobFailed
from shipway.remote import Connection, kubeflow_run
from tests.fixtures import told_pipeline
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import SMALL, Typed


@pytest.fixture(autouse=True)
def configured(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWAY_KFP", server.url)
    monkeypatch.setattr(kubeflow_run, "POLL_S", 0.02)


def test_from_nothing_to_a_finished_run(typed: Typed, server: KfpServer) -> None:
    server.state.step_s = 0.05
    assert "Published small version small-v1-0" in typed("publish", SMALL, "--version", "1.0", "--no-pin")
    assert "nothing was done" in typed("publish", SMALL, "--version", "1.0", "--no-pin")
    assert "Nothing was started" in typed("submit", "small", "-p", "start=2", "label=x", "--dry-run")
    assert server.state.runs == {}
    out = typed("submit", "small", "-p", "start=2", "--watch")
    assert "Add one" in out
    assert "Succeeded" in out
    assert "shipway down" not in out
    (run,) = typed.document("runs", "list")
    assert (run["state"], run["metrics"]) == ("Succeeded", {})
    assert "@" in run["started_by"]
    assert run["run"][:8] in typed("runs", "list")
    assert [step["task"] for step in typed.document("runs", "show")["steps"]] == ["add", "add-2"]


def test_run_takes_the_same_words_here_and_there(typed: Typed, server: KfpServer, published: str) -> None:
    server.state.step_s = 0.02
    assert typed.document("run", "small", "-p", "start=2")["state"] == "Succeeded"
    typed("run", SMALL, "--local", "--dry-run")
    typed("run", SMALL, "--local", "--kfp", server.url, code=2)
    assert "one place at a time" in typed.err


def test_without_a_kubeflow_the_same_commands_are_about_this_machine(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHIPWAY_KFP")
    assert "No runs yet" in typed("runs", "list")
    typed("run", "train_and_deploy", code=2)
    assert "--local" in typed.err
    assert "--kfp URL" in typed.err
    for command in ("watch", "cancel", "retry", "clone", "logs", "artifacts"):
        typed(command, "nope", code=2)
        assert typed.err.startswith("error: run: 0 runs")
    assert not (Path(os.environ["SHIPWAY_HOME"]) / "store").exists(), "looking started a store"


def test_a_failed_run_ends_with_one_and_a_stopped_one_with_130(
    typed: Typed, kubeflow: Connection, server: KfpServer, published: str
) -> None:
    failed = kubeflow.submit(published)
    server.state.finish(failed.key, "FAILED", add="FAILED")
    typed("watch", failed.key, code=1)
    assert "Kubeflow keeps no reason; the steps' own records do: set SHIPWAY_STORE" in typed.err
    stopped = kubeflow.submit(published)
    assert "is stopped" in typed("cancel", stopped.key)
    assert "was over already: Cancelled" in typed("cancel", stopped.key)
    typed("watch", stopped.key, code=130)
    assert "shipway retry" in typed("runs", "show", stopped.key)
    typed("retry", failed.key)
    assert server.state.runs[failed.key].state == "RUNNING"


def test_a_clone_changes_what_is_named(typed: Typed, kubeflow: Connection, server: KfpServer, published: str) -> None:
    run = kubeflow.submit(published, start=2, label="x")
    clone = typed.document("clone", run.key, "-p", "start=7")
    assert server.state.runs[clone["run"]].runtime_config.parameters == {"start": 7, "label": "x"}


def test_a_schedule_by_the_command_line(typed: Typed, server: KfpServer, published: str) -> None:
    shown = typed(
        "schedule", "create", "small", "--when", "every monday at 01:00", "--zone", "Europe/Berlin", "--name", "weekly",
        "--dry-run",
    )  # fmt: skip
    assert shown.count("01:00:00") == 5
    assert server.state.recurring == {}
    typed("schedule", "create", "small", "--when", "every day at 06:30", "--name", "daily", "-p", "start=3")
    assert "Next: " in typed.out
    typed("schedule", "pause", "daily")
    assert typed.document("schedule", "list")[0]["state"] == "paused"
    typed("schedule", "resume", "daily")
    typed("schedule", "change", "daily", "--when", "@hourly", "-p", "label=y", "--yes")
    (listed,) = typed.document("schedule", "list")
    assert (listed["when"], listed["params"]) == ("@hourly", {"start": 3, "label": "y"})
    assert "daily" in typed("schedule", "list")
    server.state.fire(listed["recurring_runs"][0])
    assert typed.document("runs", "list")[0]["started_by"] == "schedule daily"
    typed("schedule", "delete", "daily")
    assert "No schedules yet" in typed("schedule", "list")


def test_a_schedule_is_shown_with_what_came_of_its_slots(typed: Typed, server: KfpServer, published: str) -> None:
    typed("schedule", "create", "small", "--when", "every minute", "--name", "often", "-p", "webhook=https://x/SECRET")
    (job,) = server.state.recurring.values()
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    job.created_at = minute + timedelta(minutes=5)  # no slot has passed, though a minute may begin meanwhile
    assert "It was not to run yet" in typed("schedule", "show", "often")
    job.created_at = minute - timedelta(minutes=3, seconds=30)
    run = server.state.fire(job.recurring_run_id, minute - timedelta(minutes=3) + timedelta(seconds=4))
    shown = typed("schedule", "show", "often")
    assert "SECRET" not in shown
    assert f"run {run.display_name} was still going" in " ".join(shown.split())
    document = typed.document("schedule", "show", "often")
    outcomes = [slot["outcome"] for slot in document["slots"]]
    assert (outcomes[:2], outcomes[-1]) == (["Pending", "lost"], "waiting")
    assert document["slots"][0]["run"] == run.run_id
    typed("schedule", "show", "ofen", code=2)
    assert "did you mean 'often'" in typed.err


def test_a_deleted_schedule_says_what_becomes_of_its_runs(typed: Typed, server: KfpServer, published: str) -> None:
    for cancel in (False, True):
        typed("schedule", "create", "small", "--when", "@daily", "--name", "nightly")
        (job,) = server.state.recurring.values()
        run = server.state.fire(job.recurring_run_id)
        said = typed("schedule", "delete", "nightly", *(["--cancel-runs"] if cancel else []))
        assert (f"shipway cancel {run.run_id}" in " ".join(said.split())) is not cancel
        assert (run.run_id in server.state.workflows, run.state) == (True, "FAILED" if cancel else "PENDING")
    typed("schedule", "create", "small", "--when", "@daily", "--name", "nightly")
    run = server.state.fire(next(iter(server.state.recurring)))
    told = typed.document("schedule", "delete", "nightly")
    assert told == {
        "name": "nightly", "deleted": True,
        "running": [{"run": run.run_id, "name": run.display_name, "state": "PENDING"}],
    }  # fmt: skip


def test_an_older_kubeflow_keeps_the_earlier_version_until_its_run_has_ended_and_says_so(
    typed: Typed, server: KfpServer, published: str
) -> None:
    server.state.leaves_runs = False
    typed("schedule", "create", "small", "--when", "@daily", "--name", "nightly")
    server.state.fire(next(iter(server.state.recurring)))
    typed("schedule", "change", "nightly", "--when", "@weekly", "--yes")
    for words in (("schedule", "list"), ("schedule", "show", "nightly")):
        assert "it is deleted when its run has ended" in " ".join(typed(*words).split())
    typed("schedule", "delete", "nightly", code=1)
    assert "paused, and not deleted yet" in typed.err


SECRET = ("-p", "webhook=https://hooks.example.com/T0/SECRET", "-p", 'more={"api_token": "SECRET"}')


def test_a_dry_run_says_in_a_line_that_the_steps_secret_was_not_looked_at(typed: Typed, kubeflow: Connection) -> None:
    kubeflow.publish(f"{told_pipeline.__file__}:told", version="1", pin=False)
    line = "Secret team-store in kubeflow was not looked at: there is no kubeconfig here"
    assert line in " ".join(typed("submit", "told", "--dry-run").split())
    assert typed.document("submit", "told", "--dry-run")["notes"] == [line]


@pytest.mark.parametrize("flag", [(), ("--dry-run",), ("--json",), ("--dry-run", "--json")])
def test_what_is_secret_in_the_parameters_is_never_shown(
    typed: Typed, server: KfpServer, published: str, flag: tuple[str, ...]
) -> None:
    assert "SECRET" not in typed("submit", "small", *SECRET, *flag)
    assert "SECRET" not in typed("schedule", "create", "small", "--when", "@daily", "--name", "one", *SECRET, *flag)
    if "--dry-run" in flag:
        return
    (job,) = server.state.recurring.values()
    assert job.runtime_config.parameters["webhook"].endswith("SECRET")  # the runs get it
    shown = typed("schedule", "change", "one", "--when", "@hourly", "--yes", *flag)
    assert "SECRET" not in shown
    assert "webhook" in shown
    (job,) = server.state.recurring.values()
    assert job.runtime_config.parameters["webhook"].endswith("SECRET")
    assert "SECRET" not in typed("schedule", "list", *flag)
    assert "SECRET" not in typed("clone", "last", *flag)


def test_a_schedule_that_runs_out_names_the_command_that_renews_it(
    typed: Typed, server: KfpServer, published: str
) -> None:
    typed("schedule", "create", "small", "--when", "@daily", "--zone", "Europe/Berlin", "--name", "nightly")
    assert "shipway schedule change" not in typed("schedule", "list")
    assert typed.document("schedule", "list")[0]["renew"] is None
    for job in server.state.recurring.values():
        job.trigger.cron_schedule.end_time = datetime.now(UTC) + timedelta(days=80)
    assert "Next: shipway schedule change nightly" in typed("schedule", "list").replace("\n", " ")
    command = typed.document("schedule", "list")[0]["renew"].split()[1:]
    typed(*command)
    assert typed.document("schedule", "list")[0]["renew"] is None


def test_a_plan_says_what_a_start_that_has_passed_means(typed: Typed, server: KfpServer, published: str) -> None:
    start = f"{datetime.now(UTC) - timedelta(days=10):%Y-%m-%d}"
    words = ("schedule", "create", "small", "--when", "every day at 00:30", "--start", start, "--dry-run")
    assert "now, since its start has passed" in typed(*words)
    assert typed.document(*words)["at_once"] == 0
    count = typed.document(*words, "--catchup")["at_once"]
    assert count in (10, 11)
    assert f"{count} runs, one for each slot since {start}" in typed(*words, "--catchup")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("submit", "smal"), "did you mean 'small'"),
        (("submit", "small", "-p", "strat=1"), "did you mean 'start'"),
        (("submit", "small@9"), "no version '9'; there are small-v1-0"),
        (("watch", "nope"), "fit 'nope'"),
        (("schedule", "create", "small", "--when", "every mnday"), "did you mean 'monday'"),
        (("schedule", "create", "small", "--when", "@daily", "--concurrency", "11"), "Kubeflow allows 1 to 10"),
        (("schedule", "create", "small", "--when", "@daily", "--start", "soon"), "--start 'soon': expected 2026-12-01"),
        (("schedule", "pause", "nope"), "no 'nope'; there are none"),
        (("publish", SMALL), "say its version"),
        (("publish", SMALL, "--version", "1.0", "--digest", "x"), "expected image=sha256"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    typed: Typed, kubeflow: Connection, published: str, arguments: tuple[str, ...], said: str
) -> None:
    kubeflow.submit(published)
    typed(*arguments, code=2)
    assert typed.err.startswith("error: ")
    assert said in typed.err
    assert typed.err.count("\n") == 1


def test_watching_can_be_left_and_the_run_goes_on(
    typed: Typed, kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kubeflow.submit(published)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shipway.runs.facade.time.sleep", interrupted)
    typed("watch", run.key, code=130)
    assert "the run goes on" in typed.out
    assert server.state.runs[run.key].state == "PENDING"


def test_logs_are_the_steps_own_words(typed: Typed, kubeflow: Connection, server: KfpServer, published: str) -> None:
    run = kubeflow.submit(published)
    threading.Timer(0.05, server.state.finish, (run.key,), {"add": "SUCCEEDED"}).start()
    out = typed("logs", run.key, "--follow")
    assert "Add one: Succeeded" in out
    assert "Kubeflow's API (v2beta1) gives no logs" in out
    typed("logs", run.key, "ad", code=2)
    assert "there are add (Add one), add-2 (Add another) (did you mean 'add'?)" in typed.err
    assert "Add one: Succeeded" in typed("logs", run.key, "add ONE")
    assert "lists no artifacts" in typed("artifacts", run.key)


def test_a_store_that_cannot_be_reached_from_here_hides_nothing_that_kubeflow_says(
    typed: Typed, kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SHIPWAY_STORE", "s3://models/prefix")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        run = kubeflow.submit(published)
        server.state.finish(run.key, add="SUCCEEDED")
        why = "records cannot be read from here"
        for words in (("runs", "show"), ("watch",), ("logs",), ("artifacts",), ("reports", "list")):
            assert why in " ".join(typed(*words, run.key).split()), words
        shown = typed.document("runs", "show", run.key)
        states = [(step["task"], step["title"], step["state"]) for step in shown["steps"]]
        assert states == [("add", "Add one", "Succeeded"), ("add-2", "Add another", "Skipped")]
        assert shown["state"] == "Succeeded"
        failed = kubeflow.submit(published)
        server.state.finish(failed.key, "FAILED", add="FAILED")
        typed("watch", failed.key, code=1)
        assert why in typed.err
        with pytest.raises(JobFailed, match=why):
            kubeflow.run(failed.key).raise_for_state()


def test_a_run_that_goes_on_is_no_failure(typed: Typed, kubeflow: Connection, published: str) -> None:
    run = kubeflow.submit(published)
    assert f"Next: shipway watch {run.key}" in typed("runs", "show", run.key)
    assert "error" not in typed.err


def test_logs_without_a_step_are_of_the_one_that_failed_else_of_all(
    typed: Typed, kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published)
    server.state.finish(run.key, "FAILED", add="SUCCEEDED", **{"add-2": "FAILED"})
    out = typed("logs", run.key)
    assert "Add another: Failed" in out
    assert "Add one" not in out
    well = kubeflow.submit(published)
    server.state.finish(well.key, add="SUCCEEDED", **{"add-2": "SUCCEEDED"})
    out = typed("logs", well.key)
    assert "Add one: Succeeded" in out
    assert "Add another: Succeeded" in out
