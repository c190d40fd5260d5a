"""Prep of more data than its memory limit: what it holds at once does not grow with the data.

Measured is the anonymous and shared memory of prep's process and all its children, summed, every 10 ms (RssAnon and
RssShmem of /proc): what a container's limit cannot reclaim. Where this user may make a memory cgroup, prep also runs
inside one with the same hard limit, so that page cache counts and a peak between two samples kills.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipway.artifacts import DatasetManifest

# A recipe of a user's own, cheap enough that the time goes into prep itself.
RECIPE = """
import numpy as np
from pydantic import BaseModel
from shipway.artifacts import FeatureSpec

class Nothing(BaseModel):
    pass

class Encoder:
    def __init__(self, labels):
        self.labels = labels
        self.features = {"length": FeatureSpec(dtype="int64", shape=[])}
    def encode(self, texts):
        return {"length": np.array([len(text) for text in texts], dtype=np.int64)}
    def to_document(self):
        return {"labels": self.labels}

class Recipe:
    name, task, input = "light", "classification", "text"
    EncoderParams = Params = Nothing
    def fit_encoder(self, rows, params):
        return Encoder(sorted({label for frame in rows for label in frame.get_column("label").unique()}))
    def load_encoder(self, document):
        return Encoder(document["labels"])
    def build_model(self, params, encoder): ...
    def compile_model(self, model, params, optimizer_wrapper=None): ...

recipe = Recipe()
"""
RUN = """
import sys
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.storage import Store
spec = DatasetSpec(name="big", data=sys.argv[1], recipe="light:recipe", shard_mb=64)
make_dataset(spec, Store.open())[0].write(sys.argv[2])
"""
ROWS_AT_ONCE = 100_000
CGROUP_V1 = Path("/sys/fs/cgroup/memory")


def write_rows(path: Path, size_bytes: int) -> int:
    """A CSV of about this size, rows of some 220 bytes, no text twice; gives back the rows."""
    choose = np.random.default_rng(0)
    words = np.array([f"w{number:05d}" for number in range(20_000)])
    picked = words[np.minimum(choose.zipf(1.3, (ROWS_AT_ONCE, 28)), len(words)) - 1]
    block = pl.DataFrame({f"c{number}": picked[:, number] for number in range(28)}).select(
        pl.concat_str(pl.all(), separator=" ").alias("tail"),
        pl.Series("label", choose.integers(0, 100, ROWS_AT_ONCE)).cast(pl.String) + "_intent",
        pl.lit("kitchen").alias("room"),
    )
    rows = 0
    with path.open("wb") as file:
        file.write(b"text,label,room\n")
        while file.tell() < size_bytes:
            text = pl.concat_str(pl.int_range(rows, rows + ROWS_AT_ONCE), "tail", separator=" ").alias("text")
            block.select(text, "label", "room").write_csv(file, include_header=False)
            rows += ROWS_AT_ONCE
    return rows


def tree(pid: int) -> Iterator[int]:
    """The process and all below it."""
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))
    except OSError:
        return


def held_bytes(pid: int) -> int:
    """Anonymous and shared memory of one process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon", "RssShmem")))


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[Path | None]:
    """A cgroup with a hard limit where this user may make one, else None."""
    folder = CGROUP_V1 / f"shipway-prep-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        deadline = time.monotonic() + 10
        while folder.exists() and time.monotonic() < deadline:
            try:
                folder.rmdir()
            except OSError:
                time.sleep(0.05)


def run_limited(command: list[str], limit_bytes: int, environment: dict[str, str]) -> tuple[int, int]:
    """Exit code and peak of `held_bytes` over the tree."""
    with memory_cgroup(limit_bytes) as cgroup:
        join = f"echo $$ > {cgroup}/cgroup.procs; " if cgroup else ""
        process = subprocess.Popen(["bash", "-c", f'{join}exec "$@"', "bash", *command], env=environment)
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(held_bytes, tree(process.pid))))
            time.sleep(0.01)
        return process.returncode, peak


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("size_mb", "limit_mb", "workers"),
    [
        pytest.param(100, 256, 1, id="100 MB in 256 MB"),
        pytest.param(2000, 512, 2, id="2 GB in 512 MB", marks=pytest.mark.soak),
    ],
)
def test_memory_holds_a_bucket_and_never_the_dataset(
    size_mb: int, limit_mb: int, workers: int, tmp_path: Path, local_store_uri: str
) -> None:
    if size_mb > 1000 and int(os.environ.get("SHIPWAY_LOOPS", "20")) < 100:
        pytest.skip("2 GB take minutes: make soak")
    data, out = tmp_path / "rows.csv", tmp_path / "dataset.json"
    rows = write_rows(data, size_mb * 1_000_000)
    (tmp_path / "light.py").write_text(RECIPE)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "SHIPWAY_PREP_WORKERS": str(workers),
        "POLARS_MAX_THREADS": str(workers),
    }
    code, peak = run_limited([sys.executable, "-c", RUN, str(data), str(out)], limit_mb * 1_000_000, environment)
    print(f"{size_mb} MB, {rows:,} rows: at most {peak / 1e6:.0f} MB held, limit {limit_mb} MB")
    assert code == 0
    assert peak <= limit_mb * 1_000_000
    manifest = DatasetManifest.read(out)
    assert sum(part.rows for part in manifest.splits.values()) == rows
    assert len(manifest.splits["train"].shards) >= 8
    data.unlink()
