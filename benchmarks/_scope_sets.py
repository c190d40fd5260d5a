"""Sets for the `scope` benchmark: rows that a bot is trained on, and texts that are none of its business."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from benchmarks._recipe_sets import sentences, write_set

NAMES = ("en", "de", "docstrings-77")
HELD_OUT = "-held-out"  # behind a name: a third of its classes are out of scope
MOST = 1500  # texts out of scope


def write_scope_set(path: Path, name: str) -> tuple[dict[str, str], list[str]]:
    """Writes the rows in scope as CSV; the same environment gives the same rows.

    Out of scope is another domain: docstrings for a voice assistant, and requests of one for docstrings. Of a set whose
    name ends in `HELD_OUT` it is the rest of its own: the texts of a third of its classes, which the file lacks.

    Returns:
        Fields of the `DatasetSpec` that name its columns, and the texts out of scope.
    """
    own = name.removesuffix(HELD_OUT)
    columns = write_set(path, own)
    dice = random.Random(name)
    if own == name:
        return columns, dice.sample(_elsewhere(path.with_suffix(".other"), name), MOST)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({row["label"] for row in rows})
    left_out = set(dice.sample(labels, len(labels) // 3))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if row["label"] not in left_out)
    texts = sorted({row["text"] for row in rows if row["label"] in left_out})
    return columns, dice.sample(texts, min(len(texts), MOST))


def _elsewhere(path: Path, name: str) -> list[str]:
    if not name.startswith("docstrings"):
        return sorted(set().union(*sentences().values()))
    write_set(path, "en")
    with path.open(encoding="utf-8", newline="") as file:
        return sorted({row["text"] for row in csv.DictReader(file)})
