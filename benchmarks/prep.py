"""`prep.dataset` against a hand-written Polars script of the same work, on 1 M generated rows.

The script does what a person would write with Polars and this package's encoder when the data fit into memory: read
the CSV, drop empty rows, split by Polars' own hash of the text, shuffle, fit the encoder on the training rows, pack
in chunks, write eight TFRecord files and a Parquet file a split. It borrows our serialiser (protobuf objects would make
it several times slower) and runs in one process with all of Polars' threads. It checks no row, writes no quarantine, no
statistics, no leakage, no sha256, and holds everything in memory.

    python -m benchmarks prep        BENCH_PREP_ROWS=100000 for a quick look
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROWS = int(os.environ.get("BENCH_PREP_ROWS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_PREP_ROUNDS", "3"))
GOAL = 0.8

OURS = """
import sys
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.storage import Store
make_dataset(DatasetSpec(name="bench", data=sys.argv[1]), Store.open(f"file://{sys.argv[2]}"))
"""

SCRIPT = """
import json, sys
from pathlib import Path
import polars as pl
from shipway.components.prep.tfrecord import serialise, write_records
from shipway.recipes import load_recipe
out = Path(sys.argv[2])
out.mkdir(parents=True)
rows = pl.scan_csv(sys.argv[1], infer_schema=False).filter(
    pl.col("text").is_not_null() & pl.col("label").is_not_null()
).with_columns(side=pl.col("text").hash(0) % 1000).collect(engine="streaming")
sides = {
    "test": rows.filter(pl.col("side") < 150),
    "eval": rows.filter(pl.col("side").is_between(150, 249)),
    "train": rows.filter(pl.col("side") >= 250).sample(fraction=1, shuffle=True, seed=0),
}
recipe = load_recipe("intents")
encoder = recipe.fit_encoder(sides["train"].iter_slices(4096), recipe.EncoderParams())
(out / "encoder.json").write_text(json.dumps(encoder.to_document()))
ids = {label: number for number, label in enumerate(encoder.labels)}
for name, side in sides.items():
    side.write_parquet(out / f"{name}.parquet")
    shards = 8 if name == "train" else 1
    for number, part in enumerate(side.iter_slices(-(-len(side) // shards))):
        with (out / f"{name}-{number}.tfrecord").open("wb") as file:
            for chunk in part.iter_slices(4096):
                labels = chunk.get_column("label").replace_strict(ids, return_dtype=pl.Int64).to_numpy()
                write_records(file, serialise({**encoder.pack(chunk.get_column("text").to_list()), "label": labels}))
"""


def write_rows(path: Path, rows: int) -> None:
    """Texts of 3 to 12 words by Zipf's law, 100 labels."""
    import numpy as np

    choose = np.random.default_rng(0)
    words = np.array(
        [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "rt", "lk", "st", "m", "ve")]
    )
    lengths = choose.integers(3, 13, rows)
    picked = words[np.minimum(choose.zipf(1.2, int(lengths.sum())), len(words)) - 1]
    ends = np.cumsum(lengths)
    labels = choose.integers(0, 100, rows)
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for number, (start, end) in enumerate(zip(ends - lengths, ends, strict=True)):
            file.write(f"{' '.join(picked[start:end])} {number},intent_{labels[number]}\n")


def timed(code: str, data: Path | str, out: Path) -> tuple[float, float, float]:
    """Seconds, CPU seconds of all its processes, and the peak of their anonymous memory together in MB."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code, str(data), str(out)])
    peak = 0
    status, usage = 0, None
    while usage is None:
        peak = max(peak, sum(_held(pid) for pid in _tree(process.pid)))
        ended, status, rusage = os.wait4(process.pid, os.WNOHANG)
        usage = rusage if ended else None
        time.sleep(0.01)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the benchmark's process ended with {process.returncode}")
    shutil.rmtree(out, ignore_errors=True)
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, peak / 1e6


def _tree(pid: int) -> list[int]:
    try:
        children = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(below for child in children for below in _tree(child))]


def _held(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon", "RssShmem")))


def main() -> dict[str, Any]:
    """Rows/s of ours over the script's, from medians of interleaved rounds."""
    folder = Path(tempfile.mkdtemp(prefix="shipway-bench-"))
    try:
        data = folder / "rows.csv"
        write_rows(data, ROWS)
        size = data.stat().st_size
        sides = {"ours": OURS, "script": SCRIPT}
        runs_of: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
        for number in range(ROUNDS):
            for name in sides if number % 2 else reversed(sides):
                runs_of[name].append(timed(sides[name], data, folder / f"{name}-{number}"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = {name: statistics.median(took for took, _, _ in runs) for name, runs in runs_of.items()}
    ratio = round(seconds["script"] / seconds["ours"], 3)
    return {
        "name": "prep",
        "ratio": ratio,
        "goal": GOAL,
        "meets_goal": ratio >= GOAL,
        "baseline": "a hand-written Polars script with the same encoder and serialiser, all in memory",
        "details": {
            "rows": ROWS,
            "csv_mb": round(size / 1e6),
            "rounds": ROUNDS,
            **{
                name: {
                    "rows_per_s": round(ROWS / seconds[name]),
                    "cpu_s": round(statistics.median(cpu for _, cpu, _ in runs), 1),
                    "peak_memory_mb": round(max(peak for _, _, peak in runs)),
                }
                for name, runs in runs_of.items()
            },
        },
    }


if __name__ == "__main__":
    print(json.dumps(main()))
