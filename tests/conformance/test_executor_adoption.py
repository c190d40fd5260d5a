"""Adopt, don't duplicate: what `ensure` makes of a job that is already there."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from shipway.errors import Cancelled, Conflict, InvalidSpec, JobFailed, NotFound
from shipway.executors import Handle, play, raise_for
from shipway.storage import Store
from tests.fixtures.executor_rigs import Following, ProcessRig, Rig
from tests.fixtures.manifests import SLEEP, changed, tfjob, wait_for

DONE = "print('done')"
FAILS = "raise SystemExit(3)"


def record(tmp_path: Path, job: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(Store.open(f"file://{tmp_path}/store").get(f"jobs/{job}/outcome.json"))
    return loaded


def test_a_running_job_is_adopted(rig: Rig) -> None:
    first = rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))
    second = rig.another().ensure(tfjob("j", {"Worker": SLEEP}))
    assert (first.adopted, second.adopted) == (False, True)
    assert first.name == second.name
    following = Following(rig.another(), second)
    wait_for(lambda: following.saw("adopted") and following.saw("started"), "an adopter is told what was before it")
    rig.executor.cancel(first)
    assert following.outcome().state == "Cancelled"


def test_many_that_ensure_at_once_give_one_job(rig: Rig) -> None:
    handles: list[Handle] = []
    manifest = tfjob("j", {"Worker": SLEEP})
    threads = [threading.Thread(target=lambda: handles.append(rig.another().ensure(manifest))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {handle.name for handle in handles} == {"j"}
    assert [handle.adopted for handle in handles].count(False) == 1
    wait_for(lambda: rig.alive(handles[0]) == ["worker-0"], "its replica runs")
    rig.executor.cancel(handles[0])


def test_a_succeeded_job_is_given_back(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": DONE}))
    outcome = rig.executor.follow(handle)
    again = rig.another().ensure(tfjob("j", {"Worker": DONE}))
    assert again.adopted
    assert rig.another().follow(again) == outcome


def test_an_outcome_record_answers_where_the_job_itself_is_gone(rig: Rig, tmp_path: Path) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": DONE}))
    outcome = rig.executor.follow(handle)
    assert record(tmp_path, "j")["spec_hash"] == handle.spec_hash
    rig.delete(handle)
    again = rig.another().ensure(tfjob("j", {"Worker": DONE}))
    assert again == Handle(handle.kind, handle.name, handle.namespace, handle.spec_hash, adopted=True)
    assert rig.another().follow(again) == outcome
    with pytest.raises(Conflict, match="in object storage with another spec"):
        rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))


def test_the_same_name_with_another_spec_is_a_conflict(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))
    with pytest.raises(Conflict, match=r"metadata\.name: job 'j' exists .* with another spec .*fresh run"):
        rig.executor.ensure(tfjob("j", {"Worker": DONE}))
    rig.executor.cancel(handle)


def test_labels_and_annotations_are_no_part_of_the_spec(rig: Rig) -> None:
    manifest = tfjob("j", {"Worker": DONE})
    rig.executor.follow(rig.executor.ensure(manifest))
    assert rig.executor.ensure(changed(manifest, "metadata.labels", {"team": "a"})).adopted


def test_a_failed_job_is_tried_again_up_to_the_limit_and_keeps_its_base_name(rig: Rig, tmp_path: Path) -> None:
    code = "import os; print(os.environ['SHIPWAY_JOB'], os.environ['SHIPWAY_ATTEMPT']); raise SystemExit(3)"
    manifest = tfjob("j", {"Worker": code})
    handle, outcome = play(rig.executor, manifest, backoff_limit=2)
    assert (handle.name, outcome.state) == ("j-r2", "Failed")
    assert [line.text for line in rig.executor.logs(handle)] == ["j 2"]
    assert record(tmp_path, "j")["failures"] == 3
    spent = rig.executor.ensure(manifest, backoff_limit=2)
    assert (spent.name, spent.adopted) == ("j-r2", True)
    assert rig.executor.follow(spent).state == "Failed"
    assert rig.executor.ensure(manifest, backoff_limit=3).name == "j-r3"
    rig.executor.cancel(rig.executor.ensure(manifest, backoff_limit=3))


def test_an_attempt_after_the_record_of_a_lost_machine_goes_on_counting(rig: Rig) -> None:
    manifest = tfjob("j", {"Worker": FAILS})
    handle = rig.executor.ensure(manifest)
    rig.executor.follow(handle)
    rig.delete(handle)
    assert rig.executor.follow(rig.executor.ensure(manifest)).state == "Failed"  # the record's: no attempt is left
    assert rig.executor.ensure(manifest, backoff_limit=1).name == "j-r1"
    rig.executor.cancel(rig.executor.ensure(manifest, backoff_limit=1))


def test_typing_the_command_again_is_worth_a_new_attempt(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tfjob("j", {"Worker": FAILS})
    monkeypatch.setenv("SHIPWAY_INVOCATION", "monday")
    rig.executor.follow(rig.executor.ensure(manifest))
    assert rig.executor.ensure(manifest).adopted
    monkeypatch.setenv("SHIPWAY_INVOCATION", "tuesday")
    handle = rig.executor.ensure(manifest)
    assert (handle.name, handle.adopted) == ("j-r1", False)
    assert rig.executor.follow(handle).state == "Failed"


def test_a_cancelled_job_is_tried_again_without_using_up_the_limit(rig: Rig) -> None:
    manifest = tfjob("j", {"Worker": SLEEP})
    for name in ("j", "j-r1", "j-r2"):
        handle = rig.executor.ensure(manifest)
        assert (handle.name, handle.adopted) == (name, False)
        rig.executor.cancel(handle)


def test_a_job_deleted_by_a_person_fails_and_says_so(rig: Rig) -> None:
    manifest = tfjob("j", {"Worker": SLEEP})
    handle = rig.executor.ensure(manifest)
    following = Following(rig.executor, handle)
    wait_for(lambda: rig.alive(handle), "it runs")
    pids = rig.pids(handle) if isinstance(rig, ProcessRig) else []
    rig.delete(handle)
    outcome = following.outcome()
    assert outcome.state == "Failed"
    assert "deleted by somebody" in outcome.message
    for pid in pids:
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}/cmdline").exists(), "its processes are gone")
    assert rig.executor.ensure(tfjob("j", {"Worker": DONE})).adopted is False  # the name is free, also for another spec


def test_failures_become_errors_that_name_the_replica(rig: Rig) -> None:
    handle = rig.executor.ensure(tfjob("j", {"Worker": "print('no such column'); raise SystemExit(3)"}))
    with pytest.raises(JobFailed, match=r"worker-0 failed first \(Error, exit code 3\)") as caught:
        raise_for(rig.executor.follow(handle), handle)
    assert caught.value.replica == "worker-0"
    assert caught.value.replica_exit_code == 3
    assert caught.value.exit_code == 1  # of the process that reports it
    assert caught.value.last_lines == ("no such column",)
    stopped = rig.executor.ensure(tfjob("k", {"Worker": SLEEP}))
    rig.executor.cancel(stopped)
    with pytest.raises(Cancelled, match="cancelled on request"):
        raise_for(rig.executor.follow(stopped), stopped)
    good = rig.executor.ensure(tfjob("g", {"Worker": DONE}))
    raise_for(rig.executor.follow(good), good)


def test_following_what_was_never_there_is_not_found(rig: Rig) -> None:
    with pytest.raises(NotFound, match="job nowhere"):
        rig.executor.follow(Handle("TFJob", "nowhere", "default", "0" * 64))


@pytest.mark.parametrize("name", ["Upper", "1st", "ends-", "a_b", "", "x" * 60])
def test_a_name_that_the_webhook_refuses_is_refused(rig: Rig, name: str) -> None:
    with pytest.raises(InvalidSpec, match=r"metadata\.name: .* is not a DNS-1035 label"):
        rig.executor.ensure(tfjob(name, {"Worker": DONE}))
