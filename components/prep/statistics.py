"""What is counted over the rows, piece by piece; counts of two pieces add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.artifacts import SPLITS

LENGTHS = 2_048  # texts of this many characters or more share the last bin
EXAMPLES = 5


@dataclass(frozen=True)
class BadExample:
    """One quarantined row, for messages: `row` is its position in the piece, then in the file."""

    piece: int
    row: int
    reason: str
    raw: str


@dataclass
class Statistics:
    """Counts over rows.

    Attributes:
        records: All records of the source, bad ones too.
        bad: Reason -> rows.
        classes: (label, split) -> good rows.
        lengths: Good rows by their number of characters, int64, shape (LENGTHS + 1,).
        missing: Column -> good rows without a value.
        folded: (label given, label written) -> good rows, where the two differ.
        unread: Column of JSON lines that no line of their file's beginning has -> rows with a value in it.
    """

    records: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LENGTHS + 1, dtype=np.int64))
    missing: Counter[str] = field(default_factory=Counter)
    folded: Counter[tuple[str, str]] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    examples: list[BadExample] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Good rows."""
        return sum(self.classes.values())

    @property
    def bad_rows(self) -> int:
        return sum(self.bad.values())

    def count_good(self, frame: pl.DataFrame) -> None:
        """Adds rows with `text`, `label` and `split`; before validation any of them may be missing."""
        counts = frame.group_by(pl.col("label").fill_null(""), "split").len()
        self.classes.update({(label, split): n for label, split, n in counts.iter_rows()})
        if "_label" in frame.columns:
            changed = frame.filter(pl.col("_label") != pl.col("label")).group_by("_label", "label").len()
            self.folded.update({(given, written): n for given, written, n in changed.iter_rows()})
        lengths = frame.get_column("text").drop_nulls().str.len_chars().clip(upper_bound=LENGTHS).to_numpy()
        self.lengths += np.bincount(lengths, minlength=LENGTHS + 1)
        nulls = frame.select(pl.exclude("^_.*$").null_count()).row(0, named=True)
        self.missing.update({name: count for name, count in nulls.items() if count})

    def count_bad(self, bad: pl.DataFrame, piece: int) -> None:
        """Adds rows with `_row`, `raw` and `reason`."""
        self.bad.update(bad.get_column("reason").to_list())
        room = EXAMPLES - len(self.examples)
        if room > 0:
            self.examples += [BadExample(piece, row, reason, raw) for row, raw, reason in bad.head(room).iter_rows()]

    def add(self, other: Statistics) -> None:
        """Adds another piece's counts."""
        self.records += other.records
        self.bad.update(other.bad)
        self.classes.update(other.classes)
        self.lengths = self.lengths + other.lengths
        self.missing.update(other.missing)
        self.folded.update(other.folded)
        self.unread.update(other.unread)
        self.examples = sorted([*self.examples, *other.examples], key=lambda e: (e.piece, e.row))[:EXAMPLES]

    def labels(self, split: str | None = None) -> dict[str, int]:
        """Label -> rows, of one split or of all; sorted by label."""
        counts: Counter[str] = Counter()
        for (label, side), rows in self.classes.items():
            if split in (None, side):
                counts[label] += rows
        return dict(sorted(counts.items()))

    def split_rows(self) -> dict[str, int]:
        """Split -> rows."""
        return {split: sum(self.labels(split).values()) for split in SPLITS}

    def length_quantiles(self) -> dict[str, int]:
        """Characters of a text: min, p5, p50, p95, p99, max (capped at `LENGTHS`)."""
        total = int(self.lengths.sum())
        if not total:
            return {}
        ends = np.cumsum(self.lengths)
        quantiles = {"min": 0.0, "p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        return {name: int(np.searchsorted(ends, max(1, np.ceil(q * total)))) for name, q in quantiles.items()}

    def document(self) -> dict[str, Any]:
        """What the manifest keeps."""
        return {
            "records": self.records,
            "rows": self.rows,
            "bad": dict(sorted(self.bad.items())),
            "text_length": self.length_quantiles(),
            "text_length_histogram": log_histogram(self.lengths),
            "missing": dict(sorted(self.missing.items())),
            "label_counts": self.labels(),
        }


def log_histogram(lengths: NDArray[np.int64]) -> dict[str, int]:
    """Rows by power of two of the text's length: `"8": n` counts 8 to 15 characters."""
    edges = [0, *(2**power for power in range(LENGTHS.bit_length()))]
    counts = np.add.reduceat(lengths, edges[: int(np.searchsorted(edges, len(lengths)))])
    return {str(edge): int(count) for edge, count in zip(edges, counts, strict=False) if count}
