"""The folder of a training function in the store: whole, never torn, the same to every worker of a start."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from shipway.errors import CorruptArtifact, RetryableError
from shipway.functions.kept import KeptFolder
from shipway.functions.meeting import Meeting
from shipway.storage import open_folder


def keeper(tmp_path: Path, name: str) -> KeptFolder:
    folder = tmp_path / name
    folder.mkdir()
    return KeptFolder(folder, f"file://{tmp_path}/job")


def test_what_one_start_leaves_the_next_finds(tmp_path: Path) -> None:
    first = keeper(tmp_path, "first")
    (first.folder / "deep").mkdir()
    (first.folder / "deep" / "a.bin").write_bytes(b"one")
    (first.folder / "b.txt").write_text("two")
    (first.folder / "logs").mkdir()
    (first.folder / "logs" / "events").write_text("log")
    first.close()
    second = keeper(tmp_path, "second")
    assert second.restore() == 2
    assert (second.folder / "deep" / "a.bin").read_bytes() == b"one"
    assert (second.folder / "b.txt").read_text() == "two"
    assert not (second.folder / "logs").exists()
    store = open_folder(f"file://{tmp_path}/job")
    assert store.get("tensorboard/events") == b"log"


def test_only_what_changed_is_sent_and_what_nobody_names_any_more_goes(tmp_path: Path) -> None:
    kept = keeper(tmp_path, "folder")
    (kept.folder / "same").write_text("same")
    (kept.folder / "step").write_text("1")
    kept.keep()
    store = open_folder(f"file://{tmp_path}/job")
    before = {info.key: info.modified for info in store.list("folder/")}
    (kept.folder / "step").write_text("22")
    kept.keep()
    after = {info.key: info.modified for info in store.list("folder/")}
    assert len(after) == 2
    assert len(before.items() & after.items()) == 1


def test_a_list_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    kept = keeper(tmp_path, "folder")
    evil = {"../outside": {"sha256": "0" * 64, "size_bytes": 1}}
    open_folder(f"file://{tmp_path}/job").put("folder.json", json.dumps(evil).encode())
    with pytest.raises(CorruptArtifact, match="leaves the folder"):
        kept.restore()


def test_a_worker_that_comes_late_begins_with_what_its_chief_began_with(tmp_path: Path) -> None:
    old = keeper(tmp_path, "old")
    (old.folder / "step").write_text("1")
    old.close()
    chief, worker = keeper(tmp_path, "chief"), keeper(tmp_path, "worker")
    counts: list[int] = []
    late = threading.Thread(target=lambda: counts.append(worker.restore(1, 2)))
    answers = threading.Thread(target=lambda: counts.append(chief.restore(0, 2)))
    answers.start()
    late.start()
    answers.join(30)
    (chief.folder / "step").write_text("2, which the worker must not see")
    chief.keep()
    late.join(30)
    again = keeper(tmp_path, "again")  # the worker alone begins anew while its chief goes on
    counts.append(again.restore(1, 2))
    assert counts == [1, 1, 1]
    assert (worker.folder / "step").read_text() == (again.folder / "step").read_text() == "1"


def test_a_worker_whose_peers_never_come_ends_to_be_started_again(tmp_path: Path) -> None:
    store = open_folder(f"file://{tmp_path}/job")
    with pytest.raises(RetryableError, match="worker 1 did not come"):
        Meeting(store, 0, 2, wait_s=0.01).agree({})
    with pytest.raises(RetryableError, match="the chief did not come"):
        Meeting(open_folder(f"file://{tmp_path}/other"), 1, 2, wait_s=0.01).agree({})


def test_workers_leave_when_their_chief_is_done_and_begin_anew_when_it_does(tmp_path: Path) -> None:
    def meet(rank: int) -> Meeting:
        return Meeting(open_folder(f"file://{tmp_path}/job"), rank, 2)

    def agree(*meetings: Meeting) -> None:
        threads = [threading.Thread(target=meeting.agree, args=({},)) for meeting in meetings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    killed, worker = meet(0), meet(1)
    agree(killed, worker)
    chief, again = meet(0), meet(1)
    ended: list[BaseException] = []

    def leave() -> None:
        try:
            worker.end()
        except RetryableError as error:
            ended.append(error)

    leaving = threading.Thread(target=leave)
    leaving.start()
    leading = threading.Thread(target=chief.agree, args=({},))
    leading.start()
    leaving.join(30)  # it has seen the new token, and so does who comes now
    agree(again)
    leading.join(30)
    assert "the chief has begun anew" in str(ended[0])
    chief.end()
    again.end()
