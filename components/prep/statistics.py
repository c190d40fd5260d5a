"""What is counted over the rows, piece by piece; counts of two pieces add up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.artifacts import SPLITS
from shipway.components.prep.schema import Schema
from shipway.tasks.base import TellsChanges

SIZES = 2_048  # a bin for each size up to this one; above it, STEPS for each doubling
STEPS = 16
BINS = SIZES + 32 * STEPS
CHANGES = 1_000
EXAMPLES, REASONS = 3, 20  # bad rows that are kept of each reason, and of how many reasons


@dataclass(frozen=True)
class BadExample:
    """One quarantined row, for messages: `row` is its position in the piece, then in the file."""

    piece: int
    row: int
    reason: str
    raw: str


@dataclass
class Numbers:
    """Labels that are numbers, summed up."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, other: Numbers) -> None:
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)

    def document(self) -> dict[str, float]:
        """What the manifest keeps; nothing where no label is a number."""
        if not self.count:
            return {}
        mean = self.total / self.count
        spread = math.sqrt(max(self.squares / self.count - mean**2, 0.0))
        return {"mean": mean, "std": spread, "min": self.least, "max": self.most}


@dataclass
class Statistics:
    """Counts over rows.

    Attributes:
        records: All records of the source, bad ones too.
        bad: Reason -> rows.
        sides: Split -> good rows.
        named: (class, split) -> good rows that name it.
        numbers: Good rows' labels, where they have no classes and are numbers.
        sizes: Good rows by the size of their input, int64, in bins, shape (BINS,).
        missing: Column -> good rows without a value.
        relabelled: Good rows whose label, which names classes, is not written as it was given.
        changes: (label given, label written) -> such rows, the commonest of each piece.
        unread: Column of JSON lines that no line of their file's beginning has -> rows with a value in it.
    """

    records: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    sides: Counter[str] = field(default_factory=Counter)
    named: Counter[tuple[str, str]] = field(default_factory=Counter)
    numbers: Numbers = field(default_factory=Numbers)
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    missing: Counter[str] = field(default_factory=Counter)
    relabelled: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    examples: list[BadExample] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Good rows."""
        return self.sides.total()

    @property
    def bad_rows(self) -> int:
        return self.bad.total()

    def count_good(self, frame: pl.DataFrame, schema: Schema) -> None:
        """Adds rows with the input's columns, `label`, `_label` (as given) and `split`, which may be missing."""
        split = pl.col("split").fill_null("")
        self.sides.update(dict(frame.group_by(split).len().iter_rows()))
        if schema.has_classes:
            labels = schema.with_classes(frame.group_by("label", split).len())
            counts = labels.drop_nulls("class").group_by("class", "split").agg(pl.col("len").sum())
            self.named.update({(name, side): n for name, side, n in counts.iter_rows()})
            changed = frame.filter(pl.col("_label") != pl.col("label"))
            if isinstance(schema.labels, TellsChanges):
                changed = changed.filter(schema.labels.is_changed(changed["_label"], changed["label"]))
            self.relabelled += len(changed)
            pairs = changed.group_by("_label", "label").len().sort(pl.col("len"), "_label", "label", descending=True)
            self.changes.update({(given, written): n for given, written, n in pairs.head(CHANGES).iter_rows()})
        else:
            self._count_numbers(frame.get_column("label").cast(pl.Float64, strict=False).drop_nulls())
        self.sizes += np.bincount(_bins(schema.kind.sizes(schema.kind.values(frame))), minlength=BINS)
        self._count_missing(frame)

    def _count_numbers(self, labels: pl.Series) -> None:
        if len(labels):
            numbers = labels.to_numpy()
            least, most = float(numbers.min()), float(numbers.max())
            self.numbers.add(Numbers(len(numbers), float(numbers.sum()), float((numbers**2).sum()), least, most))

    def _count_missing(self, frame: pl.DataFrame) -> None:
        nulls = frame.select(pl.exclude("^_.*$").null_count()).row(0, named=True)
        self.missing.update({name: count for name, count in nulls.items() if count})

    def leave_out(self, split: str, rows: int, classes: Counter[str]) -> None:
        """Takes back good rows of a split."""
        self.sides[split] -= rows
        self.named -= Counter({(name, split): count for name, count in classes.items()})

    def count_bad(self, bad: pl.DataFrame, piece: int) -> None:
        """Adds rows with `_row`, `raw` and `reason`."""
        self.bad.update(bad.get_column("reason").to_list())
        first = bad.group_by("reason", maintain_order=True).head(EXAMPLES).select("_row", "raw", "reason")
        self._keep(BadExample(piece, row, reason, raw) for row, raw, reason in first.iter_rows())

    def _keep(self, examples: Iterable[BadExample]) -> None:
        """Takes in examples; those that come first in the source stay."""
        counts: Counter[str] = Counter()
        kept = []
        for example in sorted([*self.examples, *examples], key=lambda example: (example.piece, example.row)):
            counts[example.reason] += 1
            if counts[example.reason] <= EXAMPLES and len(counts) <= REASONS:
                kept.append(example)
        self.examples = kept

    def add(self, other: Statistics) -> None:
        """Adds another piece's counts."""
        self.records += other.records
        self.bad.update(other.bad)
        self.sides.update(other.sides)
        self.named.update(other.named)
        self.numbers.add(other.numbers)
        self.sizes = self.sizes + other.sizes
        self.missing.update(other.missing)
        self.relabelled += other.relabelled
        self.changes.update(other.changes)
        self.unread.update(other.unread)
        self._keep(other.examples)

    def classes(self, split: str | None = None) -> dict[str, int]:
        """Class -> rows that name it, of one split or of all; sorted by name."""
        counts: Counter[str] = Counter()
        for (name, side), rows in self.named.items():
            if split in (None, side):
                counts[name] += rows
        return dict(sorted(counts.items()))

    def split_rows(self) -> dict[str, int]:
        """Split -> rows."""
        return {split: self.sides[split] for split in SPLITS}

    def size_quantiles(self) -> dict[str, int]:
        """Size of an input: min, p5, p50, p95, p99, max; above `SIZES` as its bin begins, within 4.5 %."""
        total = int(self.sizes.sum())
        if not total:
            return {}
        ends = np.cumsum(self.sizes)
        quantiles = {"min": 0.0, "p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        positions = {name: np.searchsorted(ends, max(1, np.ceil(q * total))) for name, q in quantiles.items()}
        return {name: int(_begins()[position]) for name, position in positions.items()}

    def document(self, unit: str) -> dict[str, Any]:
        """What the manifest keeps.

        Args:
            unit: What sizes of the input count.
        """
        return {
            "records": self.records,
            "rows": self.rows,
            "bad": dict(sorted(self.bad.items())),
            "size": self.size_quantiles(),
            "size_histogram": log_histogram(self.sizes),
            "size_unit": unit,
            "missing": dict(sorted(self.missing.items())),
            "label_counts": self.classes(),
            "label_numbers": self.numbers.document(),
        }


def _bins(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    beyond = (STEPS * np.log2(np.maximum(sizes, SIZES) / SIZES)).astype(np.int64)
    bins: NDArray[np.int64] = np.minimum(np.minimum(sizes, SIZES) + beyond, BINS - 1)
    return bins


def _begins() -> NDArray[np.int64]:
    """The size that each bin begins with."""
    above = SIZES * 2.0 ** (np.arange(1, BINS - SIZES) / STEPS)
    return np.concatenate([np.arange(SIZES + 1), np.ceil(above).astype(np.int64)])


def log_histogram(sizes: NDArray[np.int64]) -> dict[str, int]:
    """Rows by power of two of the input's size: `"8": n` counts 8 to 15."""
    begins = _begins()
    edges = np.where(begins > 0, 2 ** np.floor(np.log2(np.maximum(begins, 1))), 0).astype(np.int64)
    filled = np.flatnonzero(sizes)
    counts: Counter[str] = Counter()
    for edge, count in zip(edges[filled].tolist(), sizes[filled].tolist(), strict=True):
        counts[str(edge)] += count
    return dict(counts)
