"""Prep's look at rows that mean nearly the same: its seconds, and how often a label is rightly called two.

    python -m benchmarks.alike

Time is that of all three checks (rows near train, contradictions, clouds) over vectors that lie on scratch disk,
against one of them, the nearest row of another label, by products of all rows with all; the fastest of some turns
counts. CPU seconds tell more than seconds where others use the machine.

Labels that are two: each set as it is, in which every label that is named counts as a false alarm, and with six of its
labels put together to three, of which as many as possible should be named. Rows come in several orders of chance.
"""

from __future__ import annotations

import csv
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks._recipe_sets import NAMES, write_set
from shipway.components.prep import alike, clouds, vectors
from shipway.components.prep.hashes import hash_strings
from shipway.components.prep.schema import schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.language import open_encoder
from shipway.language.nearest import Floats, unit

ENCODER, TIMED = "use-multilingual-3", "docstrings-150"
ROWS, TURNS, ORDERS, MERGES = 10_000, 3, 6, 5
GOAL_S = 1.0

Rows = list[dict[str, str]]


def read(name: str, folder: Path) -> tuple[Rows, Floats]:
    """A set's rows and their vectors, of length 1."""
    write_set(folder / f"{name}.csv", name)
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, unit(open_encoder(ENCODER).encode([row["text"] for row in rows]))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the fastest turn, and of its processor."""
    turns = []
    for _ in range(TURNS):
        start, cpu = time.perf_counter(), time.process_time()
        work()
        turns.append((time.perf_counter() - start, time.process_time() - cpu))
    return min(turns)


def timed(rows: Rows, units: Floats, folder: Path) -> dict[str, float]:
    """Seconds of the checks and of the baseline, for `ROWS` rows in an order of chance."""
    schema = schema_of(DatasetSpec(name="bench", data="rows.csv"))
    chosen = np.random.default_rng(0).permutation(len(rows))[:ROWS]
    frame = pl.DataFrame([rows[place] for place in chosen.tolist()]).with_row_index("_row", 1).with_columns(
        pl.lit(0, dtype=pl.UInt32).alias("_piece"),
        pl.Series("_row_hash", hash_strings(pl.Series([str(place) for place in chosen]))),
    )  # fmt: skip
    start = 0
    for split, stop in (("train", ROWS * 3 // 4), ("eval", ROWS * 17 // 20), ("test", ROWS)):
        spill = vectors.Spill(folder, "p0", split, 1.0)
        spill.add(frame[start:stop], units[chosen[start:stop]], schema, "intents")
        start = stop
    given = vectors.read(folder)
    assert given is not None
    ours, ours_cpu = seconds(lambda: alike.judge(given, schema, lambda piece, row: ("rows.csv", row)))
    kinds = given.rows.get_column("label").rank("dense").to_numpy()
    everything, everything_cpu = seconds(lambda: _by_all_products(unit(given.vectors), kinds))
    return {"ours_s": ours, "ours_cpu_s": ours_cpu, "products_s": everything, "products_cpu_s": everything_cpu}


def _by_all_products(units: Floats, kinds: NDArray[Any]) -> None:
    for start in range(0, len(units), 512):
        products = units[start : start + 512] @ units.T
        products[kinds[start : start + 512, None] == kinds] = -1
        products.argmax(axis=1)


def clouded(rows: Rows, units: Floats) -> dict[str, float]:
    """Share of labels that are named without need, and of merged ones that are named."""
    labels = np.array([row["label"] for row in rows])
    places = {label: np.flatnonzero(labels == label) for label in np.unique(labels).tolist()}
    false: list[bool] = []
    right: list[bool] = []
    for order in range(ORDERS):
        draw = np.random.default_rng(order)
        alone = {label: draw.permutation(mine) for label, mine in places.items()}
        false += _named(alone, units).values()
        large = [label for label, mine in alone.items() if len(mine) >= 30]
        for _ in range(MERGES):
            chosen = draw.choice(large, 6, replace=False).tolist()
            mixed = {label: mine for label, mine in alone.items() if label not in chosen}
            for one, two in zip(chosen[::2], chosen[1::2], strict=True):
                mixed[f"{one} + {two}"] = draw.permutation(np.concatenate([alone[one], alone[two]]))
            named = _named(mixed, units)
            right += [named.get(label, False) for label in mixed if " + " in label]
    return {"labels": len(places), "false_alarms": _share(false, 3), "recall": _share(right, 2)}


def _share(named: list[bool], digits: int) -> float:
    return round(sum(named) / len(named), digits)


def _named(places: dict[str, NDArray[np.int64]], units: Floats) -> dict[str, bool]:
    rows_of = {label: units[mine[: clouds.ROWS]] for label, mine in places.items()}
    return {label: found.apart >= alike.APART for label, found in clouds.find_clouds(rows_of).items()}


def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {}
        for name in NAMES:
            rows, units = read(name, folder)
            sets[name] = clouded(rows, units)
            if name == TIMED:
                times = {key: round(value, 3) for key, value in timed(rows, units, folder).items()}
    return {
        "name": "alike",
        "ratio": round(times["products_s"] / times["ours_s"], 3),
        "goal": f"at most {GOAL_S:g} s for {ROWS:,} rows",
        "meets_goal": times["ours_s"] <= GOAL_S,
        "baseline": "the nearest row of another label alone, by NumPy's products of all rows with all",
        "details": {"rows": ROWS, **times, "clouds": sets},
    }


if __name__ == "__main__":
    print(json.dumps(main()))
