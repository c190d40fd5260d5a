"""What a launch records of itself: its end, and the parts of one that does the work of several."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shipway import steps
from shipway.artifacts import StepRecord
from shipway.errors import Cancelled, InvalidSpec, JobFailed, Superseded
from shipway.storage import Store
from shipway.summary import fact, of_role

PARTS = {"gate": "Judge", "register": "Register", "deploy": "Deploy"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    monkeypatch.setenv("SHIPWAY_RUN", "r")
    monkeypatch.setattr(steps, "_install_handlers", lambda _step: None)
    return Store.open(f"file://{tmp_path}/store")


def records(store: Store) -> dict[str, StepRecord]:
    found = [StepRecord.from_json(store.get(info.key), info.key) for info in store.list("runs/r/steps/")]
    return {record.task: record for record in found}


def test_launches_within_a_launch_are_its_parts_in_one_record(store: Store) -> None:
    with steps.step("release", PARTS), steps.step("gate") as gate:
        gate.output(decision="rejected", uri="s3://b/d")
        gate.report("Decision", "s3://b/d/report.html")
        assert records(store)["release"].parts[0].state == "Running"
    (release,) = records(store).values()
    assert release.state == "Succeeded"
    assert [(part.role, part.name, part.title, part.state) for part in release.parts] == [
        ("gate", "release.gate", "Judge", "Succeeded"), ("register", "release.register", "Register", "Skipped"),
        ("deploy", "release.deploy", "Deploy", "Skipped"),
    ]  # fmt: skip
    assert release.reports == {"Decision": "s3://b/d/report.html"}
    assert fact([release], "gate", "decision") == "rejected"
    assert of_role([release], "register") == [release.parts[1]]


def test_a_part_that_fails_ends_the_whole_with_its_exit_code(store: Store) -> None:
    with pytest.raises(SystemExit) as ended, steps.step("release", PARTS), steps.step("gate"):
        raise InvalidSpec("promotion.thresholds: unknown metric 'acuracy'")
    assert ended.value.code == 2
    release = records(store)["release"]
    for record in (release, release.parts[0]):
        assert record.state == "Failed"
        assert record.error is not None
        assert record.error.message == "promotion.thresholds: unknown metric 'acuracy'"
    assert [part.state for part in release.parts[1:]] == ["Skipped", "Skipped"]


def test_a_parts_job_is_ended_with_the_whole(store: Store) -> None:
    ended: list[str] = []

    def deploys_in_vain() -> None:
        with steps.step("release", PARTS), steps.step("deploy") as deploy:
            deploy.job("candidate", lambda: ended.append("candidate"))
            raise InvalidSpec("it does not answer")

    with pytest.raises(SystemExit):
        deploys_in_vain()
    assert ended == ["candidate"]
    assert records(store)["release"].jobs == ["candidate"]


def test_a_job_that_could_not_be_ended_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def refuses() -> None:
        raise ConnectionError("the cluster does not\nanswer")

    def trains() -> None:
        with steps.step("train") as train:
            train.job("bot-train-1", refuses)
            raise Cancelled("step train was stopped by SIGTERM")

    with pytest.raises(SystemExit):
        trains()
    record = records(store)["train"]
    assert record.state == "Cancelled"
    assert record.error is not None
    told = "stopped by SIGTERM; what it started may go on: the cluster does not answer"
    assert record.error.message.endswith(told)
    assert capsys.readouterr().err.endswith(f"{told}\n")


@pytest.mark.parametrize("error", [ValueError("a\x1b[2J\nb\udcff"), InvalidSpec("a\x1b[2J\nb\udcff")])
def test_an_error_is_one_line_that_can_be_kept_and_that_no_terminal_obeys(store: Store, error: Exception) -> None:
    with pytest.raises(type(error) if isinstance(error, ValueError) else SystemExit), steps.step("prep"):
        raise error
    kept = records(store)["prep"].error
    assert kept is not None
    assert kept.message.endswith(r"a\x1b[2J b\udcff")


@pytest.mark.parametrize("code", [None, 0, "leave", 3])
def test_a_step_that_is_left_by_sys_exit_has_not_succeeded(store: Store, code: object) -> None:
    with pytest.raises(SystemExit) as ended, steps.step("train"):
        raise SystemExit(code)
    assert ended.value.code == (3 if code == 3 else 1)
    assert records(store)["train"].state == "Failed"


def test_an_errors_own_exit_code_cannot_make_a_failed_step_green(store: Store) -> None:
    def fails() -> None:
        with steps.step("deploy"):
            error = JobFailed("endpoint toy: not ready within deadline_s 1")
            error.__dict__.update(exit_code=None)
            raise error

    with pytest.raises(SystemExit) as ended:
        fails()
    assert ended.value.code == 1


def test_a_launch_that_begins_anew_leaves_nothing_of_what_it_and_the_next_had_told(store: Store) -> None:
    with steps.step("release", PARTS):
        with steps.step("gate") as gate:
            gate.report("Decision", "s3://b/1")
        with steps.step("register") as register:
            register.output(version=3)
            register.report("Model card", "s3://b/card")
        with pytest.raises(Superseded), steps.step("deploy"):
            raise Superseded("another champion")
        with steps.step("gate") as gate:
            gate.output(decision="rejected")
    release = records(store)["release"]
    assert [(part.state, part.outputs, part.error) for part in release.parts] == [
        ("Succeeded", {"decision": "rejected"}, None), ("Skipped", {}, None), ("Skipped", {}, None),
    ]  # fmt: skip
    assert release.reports == {}


def test_the_next_launch_of_a_process_stands_alone(store: Store) -> None:
    with steps.step("one"):
        pass
    with steps.step("two"):
        pass
    assert set(records(store)) == {"one", "two"}


def test_a_step_on_kubeflow_without_the_stores_secret_says_what_its_pipeline_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KFP_POD_NAME", "a-pod")
    monkeypatch.delenv("SHIPWAY_STORE", raising=False)
    with pytest.raises(InvalidSpec, match=r"shipway\.use_store\(task\)"), steps.step("plan"):
        pass


def test_a_full_disk_is_one_line_that_names_the_disk(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, steps.step("train"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "rows"))
    assert ended.value.code == 1
    told = capfd.readouterr().err
    assert told.startswith(f"error: no space left on the disk of {tmp_path}/rows (")
    assert told.count("\n") == 1
    error = records(store)["train"].error
    assert error is not None
    assert error.message in told


def test_a_failed_jobs_last_lines_are_in_the_log_above_the_one_line_of_its_error(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    error = JobFailed("TFJob j failed: worker-0 failed first: ValueError: no such row")
    error.last_lines = ("a library's line", "ValueError: no such row")
    with pytest.raises(SystemExit), steps.step("train"):
        raise error
    *above, last = capfd.readouterr().err.splitlines()
    assert above == ["  | a library's line", "  | ValueError: no such row"]
    assert last == f"error: {error}"
