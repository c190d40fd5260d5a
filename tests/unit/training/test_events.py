"""TensorBoard's files as they are written here, read by TensorBoard itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from shipway.storage import open_folder
from shipway.training import events
from shipway.training.progress import TensorBoardLog

pytestmark = pytest.mark.xdist_group("tensorflow")  # which TensorBoard imports where it is installed


def _read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    data = events.head() + events.scalars(7, {"loss": 0.5, "val/größe": 2.0}) + events.scalars(300, {"loss": math.nan})
    (tmp_path / events.NAME).write_bytes(data + events.scalars(1 << 40, {"loss": 1e300}))
    read = _read(tmp_path)
    assert read["val/größe"] == [(7, 2.0)]
    assert [step for step, _ in read["loss"]] == [7, 300, 1 << 40]
    assert math.isnan(read["loss"][1][1])
    assert read["loss"][2][1] == math.inf  # float32 holds no more


def test_tensorboard_reads_a_trials_parameters_and_its_end(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    given = {"rate": 0.1, "layers": 2, "kind": "lstm", "is_deep": True}
    data = events.head() + events.parameters(given, "trial-0003", at=5.0) + events.ended(has_succeeded=True, at=9.0)
    (tmp_path / events.NAME).write_bytes(data)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    kept = read.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(kept["_hparams_/session_start_info"])
    assert {name: getattr(start.hparams[name], start.hparams[name].WhichOneof("kind")) for name in given} == given
    assert (start.group_name, start.start_time_secs) == ("trial-0003", 5.0)
    end = metadata.parse_session_end_info_plugin_data(kept["_hparams_/session_end_info"])
    assert (end.status, end.end_time_secs) == (1, 9.0)


def test_a_training_that_goes_on_leaves_no_step_twice(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/job"
    first = TensorBoardLog(uri)
    for step in (10, 20, 30):
        first.write(step, {"loss": 1.0 / step})
    again = TensorBoardLog(uri)  # from the checkpoint of step 10: 20 and 30 were not kept
    for step in (20, 30, 40):
        again.write(step, {"loss": 1.0 / step})
    assert [step for step, _ in _read(tmp_path / "job" / "tensorboard")["loss"]] == [10, 20, 30, 40]


def test_what_tensorboard_has_read_stays_where_it_was(tmp_path: Path) -> None:
    """It goes on at the byte that it has read to: what is written anew must be as long as what it replaces."""
    uri, file = f"file://{tmp_path}/job", tmp_path / "job" / "tensorboard" / events.NAME
    first = TensorBoardLog(uri)
    for step in (10, 20):
        first.write(step, {"loss": 0.25, "val_loss": 0.5})
    size, begin = file.stat().st_size, file.read_bytes()[:40]
    TensorBoardLog(uri).write(20, {"loss": 0.125, "val_loss": 0.75})
    assert (file.stat().st_size, file.read_bytes()[:40]) == (size, begin)


def test_a_torn_or_damaged_file_is_gone_on_with_from_its_last_whole_record() -> None:
    data = events.head() + events.scalars(1, {"loss": 1.0}) + events.scalars(2, {"loss": 2.0})
    assert events.steps_in(events.before(data[:-3], 9)) == [1]
    damaged = bytearray(data)
    damaged[-8] ^= 1
    assert events.steps_in(events.before(bytes(damaged), 9)) == [1]
    assert events.before(b"\xff" * 100, 9) == b""


def test_a_store_that_failed_gets_the_scalars_with_the_next_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job").write_text("a file where the folder should be")
    log = TensorBoardLog(f"file://{tmp_path}/job")
    log.write(1, {"loss": 1.0})
    assert "TensorBoard log not uploaded" in capsys.readouterr().err
    (tmp_path / "job").unlink()
    log.write(2, {"loss": 2.0})
    assert events.steps_in(open_folder(f"file://{tmp_path}/job").get(f"tensorboard/{events.NAME}")) == [1, 2]
