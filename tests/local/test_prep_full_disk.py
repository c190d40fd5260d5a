"""Scratch disk that is too small for a dataset: one line that names it, whichever library finds it full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

PREPARE = """
import sys, types
from shipway.components.prep import launch
out = types.SimpleNamespace(path=sys.argv[2] + "/out")
launch.dataset(f"{{name: bot, data: {sys.argv[1]!r}}}", out, out)
"""


@pytest.mark.parametrize("rows", [60_000, 1_300_000], ids=["in this process", "in several"])
def test_a_dataset_that_fits_no_disk_is_one_line(
    rows: int, small_disk: Callable[[int], Path], local_store_uri: str, tmp_path: Path
) -> None:
    frame = pl.DataFrame({"number": range(rows)})
    frame = frame.select(
        pl.format("switch on lamp {}", "number").alias("text"),
        pl.when(pl.col("number") % 2 == 0).then(pl.lit("on")).otherwise(pl.lit("off")).alias("label"),
    )
    frame.write_csv(tmp_path / "rows.csv")
    scratch = small_disk(3)
    environment = {**os.environ, "TMPDIR": str(scratch), "SHIPWAY_STORE": local_store_uri, "SHIPWAY_PREP_WORKERS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, str(tmp_path / "rows.csv"), str(tmp_path)],
        env={**environment, "SHIPWAY_HOME": str(tmp_path / "home")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert f"error: no space left on the disk of {scratch}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_known_by_its_words_too(small_disk: Callable[[int], Path]) -> None:
    from shipway.deaths import is_full

    folder = small_disk(1)
    frame = pl.DataFrame({"text": [os.urandom(40).hex() for _ in range(60_000)]})
    for write in (frame.write_parquet, frame.write_ipc_stream, frame.lazy().sink_parquet):
        with pytest.raises(Exception, match="No space left") as caught:
            write(folder / "frame")
        assert is_full(caught.value)
    assert not is_full(ValueError("no such column"))
