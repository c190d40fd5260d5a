from __future__ import annotations

import hashlib
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from shipway.errors import InvalidSpec, JobFailed, KubeflowError, NotFound
from shipway.remote import Connection, connect, kubeflow_run
from shipway.remote.http import RequestPatience
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import DIGESTS, FAST, SMALL


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeflow_run, "POLL_S", 0.02)


def test_a_submission_starts_the_current_version_with_checked_parameters(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published, {"start": "3"}, more='{"a": 1}', name="bot")
    (kept,) = server.state.runs.values()
    assert kept.runtime_config.parameters == {"start": 3, "more": {"a": 1}, "name": "bot"}
    assert (run.state, run.params["start"]) == ("Pending", 3)
    assert run.name.startswith("small bot ")
    assert "@" in run.started_by
    (experiment,) = server.state.experiments.values()
    assert experiment.display_name == "Default"


def test_null_within_a_parameter_reaches_kubeflow_and_a_key_twice_does_not(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    more = {"training": {"early_stopping": None}}
    run = kubeflow.submit(published, {"more": more, "label": None})
    assert server.state.runs[run.key].runtime_config.parameters == {"more": more}
    with pytest.raises(InvalidSpec, match="more: the key 'a' stands twice"):
        kubeflow.submit(published, {"more": '{"a": 1, "a": 2}'})


def test_a_dry_run_starts_nothing(kubeflow: Connection, server: KfpServer, published: str) -> None:
    submission = kubeflow.prepare(published, {"start": 2}, experiment="mine")
    assert submission.tasks == {"add": "Add one", "add-2": "Add another"}
    assert server.state.runs == {}
    assert server.state.experiments == {}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"strat": 1}, r"strat: unknown parameter of small-v1-0.*did you mean 'start'"),
        ({"start": "many"}, "start: got 'many', expected a whole number"),
        ({"start": 2.5}, "start: got 2.5, expected a whole number"),
        ({"start": True}, "start: got True, expected a whole number"),
        ({"share": "half"}, "share: got 'half', expected a number"),
        ({"more": "[1]"}, r"more: got '\[1\]', expected a JSON object"),
        ({"label": 3}, "label: got 3, expected text"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_sent(
    kubeflow: Connection, server: KfpServer, published: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        kubeflow.submit(published, params)
    assert server.sent("POST", "/runs") == 0


def test_a_shipped_pipeline_is_checked_as_its_first_step_would(kubeflow: Connection) -> None:
    kubeflow.publish("train_and_deploy", digests=DIGESTS)
    given = {"name": "bot", "data": "s3://bucket/rows.csv"}
    assert kubeflow.prepare("train_and_deploy", given).target.pipeline == "train-and-deploy"
    with pytest.raises(InvalidSpec, match="missing; train-and-deploy-v0-1-0 needs data="):
        kubeflow.prepare("train_and_deploy", {"name": "bot"})
    with pytest.raises(InvalidSpec, match=r"preset: unknown preset 'quik'.*did you mean 'quick'"):
        kubeflow.prepare("train_and_deploy", {**given, "preset": "quik"})
    with pytest.raises(InvalidSpec, match="batch_sise"):
        kubeflow.prepare("train_and_deploy", {**given, "overrides": {"training": {"batch_sise": 3}}})
    with pytest.raises(InvalidSpec, match="a path on this machine"):
        kubeflow.prepare("train_and_deploy", {**given, "data": "rows.csv"})


def test_another_shipped_pipeline_is_published_and_submitted_by_its_name_and_checked_by_its_plan(
    kubeflow: Connection, server: KfpServer
) -> None:
    kubeflow.publish("image_tagging", digests=DIGESTS)
    given = {"name": "homes", "data": "s3://shipway/photos"}
    with pytest.raises(InvalidSpec, match=r"training\.params\.network: .*'vgg16'"):
        kubeflow.submit("image_tagging", {**given, "network": "vgg16"})
    run = kubeflow.submit("image_tagging", {**given, "network": "vgg19", "size": 96})
    assert server.state.runs[run.key].runtime_config.parameters == {**given, "network": "vgg19", "size": 96}


def test_code_of_this_machine_is_put_into_the_clusters_store_where_one_is_named(
    kubeflow: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeflow.publish("train_and_deploy", digests=DIGESTS)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/of_mine.py").write_text("from tests.fixtures.toy import recipe")
    given = {"name": "bot", "data": "s3://bucket/rows.csv", "code": str(tmp_path / "code"), "recipe": "of_mine:recipe"}
    monkeypatch.delenv("SHIPWAY_STORE", raising=False)
    with pytest.raises(InvalidSpec, match=r"code: .* lies on this machine, which the cluster does not see: set SHIP"):
        kubeflow.prepare("train_and_deploy", given)
    address = "s3://bucket/mine-1.0-py3-none-any.whl"
    assert kubeflow.prepare("train_and_deploy", {**given, "code": address}).params["code"] == address
    assert "no store is named here, so that the run's first step checks the code" in capsys.readouterr().err
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    pinned = kubeflow.prepare("train_and_deploy", given).params["code"]
    with pytest.raises(InvalidSpec, match=r"code: it holds no module 'of_min', .*did you mean 'of_mine'"):
        kubeflow.prepare("train_and_deploy", {**given, "recipe": "of_min:recipe"})
    place, _, digest = pinned.partition("#sha256=")
    assert hashlib.sha256(Path(place.removeprefix("file://")).read_bytes()).hexdigest() == digest


def test_code_at_an_address_elsewhere_is_copied_into_the_clusters_store_before_a_step_looks_for_it_there(
    kubeflow: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeflow.publish("train_and_deploy", digests=DIGESTS)
    (tmp_path / "team").mkdir()
    with zipfile.ZipFile(tmp_path / "team/mine.zip", "w") as archive:
        archive.writestr("of_theirs.py", "from tests.fixtures.toy import recipe")
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    given = {"name": "bot", "data": "s3://bucket/rows.csv", "recipe": "of_theirs:recipe"}
    pinned = kubeflow.prepare("train_and_deploy", {**given, "code": f"file://{tmp_path}/team/mine.zip"})
    place, _, digest = pinned.params["code"].partition("#sha256=")
    assert place.startswith(f"file://{tmp_path}/store/code/")
    assert hashlib.sha256(Path(place.removeprefix("file://")).read_bytes()).hexdigest() == digest


def test_a_pipeline_or_version_that_is_not_there_names_the_nearest(kubeflow: Connection, published: str) -> None:
    with pytest.raises(NotFound, match=r"'smal' is not published.*did you mean 'small'.*shipway publish smal"):
        kubeflow.prepare("smal")
    with pytest.raises(NotFound, match=r"no version '1.1'; there are small-v1-0"):
        kubeflow.prepare(published, version="1.1")


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize("after", [True, False])
def test_an_error_answer_starts_exactly_one_run(
    kubeflow: Connection, server: KfpServer, published: str, status: int, after: bool
) -> None:
    server.faults.add("POST", "/runs", status=status, after=after)
    run = kubeflow.submit(published)
    assert list(server.state.runs) == [run.key]


def test_a_reset_after_the_run_was_created_starts_no_second_one(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    server.faults.add("POST", "/runs", reset=True, after=True)
    run = kubeflow.submit(published)
    assert list(server.state.runs) == [run.key]
    assert server.sent("POST", "/runs") == 1


def test_resets_before_the_run_was_created_are_tried_again(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    server.faults.add("POST", "/runs", reset=True, times=2)
    run = kubeflow.submit(published)
    assert list(server.state.runs) == [run.key]
    assert server.sent("POST", "/runs") == 3


@pytest.mark.parametrize("gone", ["silent", "not let in", "no such call"])
def test_what_cannot_be_looked_for_behind_a_lost_answer_is_told_as_unknown(
    kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """The run is there: whoever is told that nobody answers types the command again, and trains twice."""
    kubeflow.api.experiment_id("Default")
    submission, create_run = kubeflow.prepare(published), server.state.create_run

    def create_and_go(given: Any) -> Any:
        made = create_run(given)
        if gone == "silent":
            server.block = lambda _: True
        elif gone == "not let in":
            server.token = "changed"
        else:
            server.state.missing_calls = {"list_runs"}
        return made

    monkeypatch.setattr(server.state, "create_run", create_and_go)
    server.faults.add("POST", "/runs", reset=True, after=True)
    with pytest.raises(KubeflowError, match=rf"{submission.name}.*unknown whether it was created.*Look for it") as told:
        kubeflow.start(submission)
    assert "nothing was sent again" in str(told.value)
    assert len(server.state.runs) == 1


def test_a_name_longer_than_kubeflows_column_is_cut_before_its_mark(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published, run_name="n" * 300)
    assert len(run.name) <= 255
    assert kubeflow.run(run.name.rpartition(" ")[2]).key == run.key


def test_after_a_timeout_nothing_is_sent_again_and_a_run_that_came_about_is_found(
    server: KfpServer, published: str
) -> None:
    hasty = connect(server.url, patience=RequestPatience(attempts=3, first_s=0.01, cap_s=0.02, read_s=0.3))
    server.faults.add("POST", "/runs", after=True, delay_s=2.0)
    run = hasty.submit(published)
    assert list(server.state.runs) == [run.key]
    server.faults.add("POST", "/runs", delay_s=2.0)
    with pytest.raises(KubeflowError, match=r"unknown whether it was created.*nothing was sent again"):
        hasty.submit(published)
    assert server.sent("POST", "/runs") == 2


def test_a_server_that_stays_broken_is_told_with_its_own_words(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    server.faults.add("POST", "/runs", status=500, said="database is locked", times=99)
    with pytest.raises(KubeflowError, match=r"not created.*500 database is locked"):
        kubeflow.submit(published)
    assert server.sent("POST", "/runs") == FAST.attempts


def test_a_run_is_waited_for_and_told_step_by_step(kubeflow: Connection, server: KfpServer, published: str) -> None:
    run = kubeflow.submit(published)
    threading.Timer(0.1, server.state.finish, (run.key, "SUCCEEDED"), {"add": "SUCCEEDED"}).start()
    told: list[str] = []

    def tell(event: dict[str, Any]) -> None:
        step = event.get("step")
        told.append(f"{step['task']} {step['state']}" if step else event.get("state") or event["kind"])

    run.wait(tell)
    assert told == [
        "tasks",
        "Pending",
        "Succeeded",
        "add Succeeded",
        "add-2 Skipped",
        "run",
    ]  # and neither the root nor its driver
    assert run.raise_for_state() is run
    assert "Succeeded" in run._repr_html_()


def test_waiting_has_an_end_where_one_is_given(kubeflow: Connection, published: str) -> None:
    run = kubeflow.submit(published)
    with pytest.raises(JobFailed, match="still Pending; it goes on: shipway watch"):
        run.wait(timeout_s=0.1)


def test_a_cancelled_run_is_told_from_a_failed_one(kubeflow: Connection, server: KfpServer, published: str) -> None:
    run = kubeflow.submit(published)
    assert run.cancel() == "Cancelled"
    assert server.state.runs[run.key].state == "FAILED"  # which is all that Kubeflow's own list shows
    assert kubeflow.run(run.key).state == "Cancelled"
    failed = kubeflow.submit(published)
    server.state.finish(failed.key, "FAILED")
    assert failed.refresh().state == "Failed"


def test_a_cancellation_that_comes_too_late_tells_the_truth(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published)
    server.state.finish(run.key, "SUCCEEDED")
    assert run.cancel() == "Succeeded"
    assert server.sent("POST", ":terminate") == 0


def test_a_cancellation_that_takes_its_time_is_not_called_done(server: KfpServer, published: str) -> None:
    server.state.cancel_s = 60.0
    run = connect(server.url, patience=FAST).submit(published)
    assert run.cancel(timeout_s=0.1) == "Cancelling"


def test_a_failed_run_is_retried_once_though_the_answer_is_lost(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published)
    with pytest.raises(InvalidSpec, match="is Pending; only a failed or cancelled run"):
        run.retry()
    server.state.finish(run.key, "FAILED")
    server.faults.add("POST", ":retry", reset=True, after=True)
    assert run.retry().state == "Running"
    assert server.sent("POST", ":retry") == 1


def test_a_clone_runs_the_same_version_with_what_was_changed(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published, start=2, label="x")
    kubeflow.publish(SMALL.replace(":small", ":smaller"), version="2.0", pin=False)
    clone = run.clone(start=5)
    assert clone.params == {"start": 5, "label": "x"}
    first, second = (server.state.runs[each.key].pipeline_version_reference for each in (run, clone))
    assert first == second
    with pytest.raises(InvalidSpec, match="unknown parameter of small-v1-0"):
        run.clone(strat=5)


def test_a_run_is_found_by_its_id_its_beginning_its_mark_and_as_the_last(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    first, second = kubeflow.submit(published), kubeflow.submit(published)
    for key in (first.key, first.key[:8], first.name, first.name.rpartition(" ")[2]):
        assert kubeflow.run(key).key == first.key
    assert kubeflow.run("last").key == second.key
    with pytest.raises(NotFound, match=r"0 of the newest runs.*fit 'nope'"):
        kubeflow.run("nope")
    server.state.archive_run(second.key)
    assert [run.key for run in kubeflow.runs()] == [first.key]
    with pytest.raises(NotFound, match=r"0 of the newest runs.*fit ''"):  # of a variable that was not set
        kubeflow.run("")


def test_many_runs_are_listed_page_by_page(kubeflow: Connection, server: KfpServer, published: str) -> None:
    keys = [kubeflow.submit(published).key for _ in range(12)]
    assert [run.key for run in kubeflow.runs()] == keys[::-1][:10]
    assert [run.key for run in kubeflow.runs(12)] == keys[::-1]
