"""Duplicates and leakage, counted over hashes bucket by bucket."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from shipway.artifacts import SPLITS
from shipway.components.prep.hashes import SPLIT_CODE, distinct
from shipway.components.prep.pool import Pool
from shipway.components.prep.spill import GROUP_RECORD, HASH_RECORD, Records, read_records

TRAIN = SPLIT_CODE["train"]  # the smallest code: an input stands in train if its smallest code is this


@dataclass
class Leakage:
    """What stands on more than one side.

    Attributes:
        inputs: Distinct inputs, by their content.
        duplicate_rows: Rows whose input stood in another row before.
        conflicting_inputs: Inputs that occur with more than one label.
        conflicting_rows: Rows of such inputs.
        leaked_rows: Split -> rows of eval or test whose input also stands in train.
        groups: Split -> distinct groups.
        shared_groups: Groups that stand in more than one split.
    """

    inputs: int = 0
    duplicate_rows: int = 0
    conflicting_inputs: int = 0
    conflicting_rows: int = 0
    leaked_rows: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    shared_groups: int = 0

    def add_contents(self, records: Records) -> None:
        """Counts one bucket of (content, label, split)."""
        if not len(records):
            return
        contents = records["content"]
        order = np.argsort(contents)
        records, contents = records[order], contents[order]
        firsts = np.flatnonzero(np.concatenate([[True], contents[1:] != contents[:-1]]))
        counts = np.diff(firsts, append=len(contents))
        self.inputs += len(firsts)
        self.duplicate_rows += len(contents) - len(firsts)
        labels = records["label"]
        conflicting = np.minimum.reduceat(labels, firsts) != np.maximum.reduceat(labels, firsts)
        self.conflicting_inputs += int(conflicting.sum())
        self.conflicting_rows += int(counts[conflicting].sum())
        in_train = np.repeat(np.minimum.reduceat(records["split"], firsts) == TRAIN, counts)
        for code, name in enumerate(SPLITS):
            if code != TRAIN:
                self.leaked_rows[name] += int((in_train & (records["split"] == code)).sum())

    def add(self, other: Leakage) -> None:
        """Adds another bucket's counts: no input and no group stands in two."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def document(self, rows: dict[str, int]) -> dict[str, float]:
        """What the manifest keeps: counts, and shares of the split's rows."""
        figures: dict[str, float] = {"shared_groups": float(self.shared_groups)}
        for split in ("eval", "test"):
            figures[f"{split}_rows_in_train"] = float(self.leaked_rows[split])
            figures[f"{split}_share_in_train"] = self.leaked_rows[split] / rows[split] if rows[split] else 0.0
        return figures


def measure(scratch: Path, buckets: int, pool: Pool) -> Leakage:
    """Of all hash buckets; leaves `groups-<split>-<bucket>.parquet` with the sorted distinct group hashes."""
    leakage = Leakage()
    for part in pool.run(measure_bucket, ((scratch, number) for number in range(buckets))):
        leakage.add(part)
    return leakage


def measure_bucket(scratch: Path, number: int, owner: str) -> Leakage:
    """Of one of them."""
    leakage = Leakage()
    leakage.add_contents(read_records(scratch, "hashes", number, HASH_RECORD))
    records = read_records(scratch, "groups", number, GROUP_RECORD)
    sides = [distinct(records["group"][records["split"] == code]) for code in range(len(SPLITS))]
    leakage.shared_groups = sum(map(len, sides)) - len(distinct(np.concatenate(sides)))
    for name, mine in zip(SPLITS, sides, strict=True):
        if len(mine):
            leakage.groups[name] = len(mine)
            frame = pl.DataFrame({"group_hash": mine})
            frame.write_parquet(scratch / f"groups-{name}-{number:05d}.parquet")
    return leakage


def write_group_hashes(scratch: Path, split: str, path: Path) -> None:
    """One Parquet file, sorted: buckets are ranges of the hash, so their order is the hashes' order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = sorted(scratch.glob(f"groups-{split}-*.parquet"))
    if parts:
        pl.scan_parquet(parts, glob=False).sink_parquet(path, maintain_order=True)
    else:
        pl.DataFrame(schema={"group_hash": pl.UInt64}).write_parquet(path)
