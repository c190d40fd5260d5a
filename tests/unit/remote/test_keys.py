"""An idempotency key starts one run, whatever happens between two submissions, and says who started it."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from shipway.errors import InvalidSpec
from shipway.remote import Connection, connect, submit
from shipway.remote.api import Api
from shipway.runs import Run, list_runs, load_run, run
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import FAST, Typed

EVENT = "s3:ObjectCreated/rows-17.csv@2026-11-26"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "SETTLE_S", 0.2)


def test_a_key_leads_to_its_run_however_that_ended_and_whatever_is_asked_of_it(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    by = "the hook for the key store"
    first = kubeflow.submit(published, start=2, key=EVENT, started_by=by)
    assert (first.is_new, first.started_by, first.record.idempotency_key) == (True, by, EVENT)
    again = connect(server.url, patience=FAST).submit(published, start=7, key=EVENT)
    assert (again.is_new, again.key, again.params["start"]) == (False, first.key, 2)
    server.state.finish(first.key, "FAILED")
    assert kubeflow.run(EVENT).key == first.key
    server.state.archive_run(first.key)
    assert kubeflow.submit(published, key=EVENT, run_name="another name").key == first.key
    assert len(server.state.runs) == 1


def test_other_keys_and_other_pipelines_have_runs_of_their_own(
    kubeflow: Connection, server: KfpServer, published: str, handled: str
) -> None:
    keys = ["a-1", "A-1", "a-11", "1", "other/a-1"]
    made = {kubeflow.submit(published, key=key).key for key in keys} | {kubeflow.submit(handled, key="a-1").key}
    assert len(made) == len(server.state.runs) == len(keys) + 1
    clone = kubeflow.run("a-11").clone()
    assert (clone.is_new, clone.record.idempotency_key) == (True, "")


def test_a_submitter_that_is_killed_behind_its_request_has_started_the_run(
    kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(api: Api, body: object) -> object:
        Api._runs_create(api, body)  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Api, "_runs_create", Api.create_run, raising=False)
        patched.setattr(Api, "create_run", killed)
        with pytest.raises(KeyboardInterrupt):
            kubeflow.submit(published, key="e-1")
    assert kubeflow.submit(published, key="e-1").is_new is False
    assert len(server.state.runs) == 1


def test_of_two_at_the_same_moment_one_is_left_and_both_get_it(
    server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubeflow's clock has whole seconds: both have one time, and neither was there when the other looked."""
    second = datetime.now(UTC).replace(microsecond=0)
    monkeypatch.setattr(server.state, "_now", lambda: second)
    both, create = threading.Barrier(2), Api.create_run

    def together(api: Api, body: object) -> object:
        both.wait(20)
        return create(api, body)

    monkeypatch.setattr(Api, "create_run", together)
    made: list[Run] = []
    threads = [
        threading.Thread(target=lambda: made.append(connect(server.url, patience=FAST).submit(published, key="e-1")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (left,) = server.state.runs
    assert [run.key for run in made] == [left, left]
    assert sorted(run.is_new for run in made) == [False, True]
    assert server.state.workflows == {left}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"key": "two words"}, "key: 'two words': expected up to 100 letters, digits and"),
        ({"key": "-x"}, "key: '-x': expected"),
        ({"key": "x" * 101}, "key: 'xxx"),
        ({"started_by": "a\nb"}, r"started_by: 'a\\nb': expected at most 100 printable"),
        ({"started_by": "x" * 101}, "started_by: 'xxx"),
    ],
)
def test_a_key_that_cannot_stand_in_a_name_is_refused(
    kubeflow: Connection, server: KfpServer, published: str, given: dict[str, str], line: str
) -> None:
    with pytest.raises(InvalidSpec, match=line):
        kubeflow.submit(published, **given)  # type: ignore[arg-type]
    assert not server.state.runs


def test_the_same_functions_follow_the_connection_and_may_be_told_to_stay_here(
    kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = run("small", start=3, kfp=kubeflow, key="e-1")
    assert (started.is_here, started.params["start"]) == (False, 3)
    monkeypatch.setenv("SHIPWAY_KFP", server.url)
    assert [each.key for each in list_runs()] == [started.key] == [load_run("e-1").key]
    assert list_runs(here=True) == []
    with pytest.raises(InvalidSpec, match=r"this machine and Kubeflow at http.*: one place at a time"):
        run("small", here=True, kfp=kubeflow)
    with pytest.raises(InvalidSpec, match="fresh: not with a run on Kubeflow, whose cache is its own"):
        run("small", fresh=True)


def test_the_command_says_that_nothing_was_started(typed: Typed, server: KfpServer, published: str) -> None:
    words = ("submit", "small", "--kfp", server.url, "--key", "e-1", "--started-by", "cron on box-3")
    first = typed.document(*words)
    assert first["is_new"] is True
    assert "has the key e-1, and cron on box-3 started it" in " ".join(typed(*words).split())
    assert typed.document(*words) == {**first, "is_new": False}
    (row,) = typed.document("runs", "list", "--kfp", server.url)
    assert (row["started_by"], row["idempotency_key"]) == ("cron on box-3", "e-1")
    assert "cron on box-3" in typed("runs", "list", "--kfp", server.url)


def test_a_table_goes_to_the_clusters_store_and_is_refused_where_none_is_named(
    kubeflow: Connection, server: KfpServer, published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pl.DataFrame({"text": ["hi", "bye"]})
    with pytest.raises(InvalidSpec, match="label: a table has to be written to the cluster's store, and none is named"):
        kubeflow.submit(published, label=rows)
    assert not server.state.runs
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    address = kubeflow.submit(published, label=rows).params["label"]
    assert re.fullmatch(rf"file://{tmp_path}/store/data/tables/[0-9a-f]{{32}}\.parquet", address)
    assert pl.read_parquet(address.removeprefix("file://")).equals(rows)
    assert kubeflow.submit(published, label=rows.clone()).params["label"] == address
