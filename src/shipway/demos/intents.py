"""The demo's data: the real intents of a deployed voice assistant as a CSV that any stranger could bring."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

from shipway.demos._home import MIN_GROUPS, languages, sample

__all__ = ["COLUMNS", "MIN_GROUPS", "ROWS_PER_INTENT", "languages", "write_intents_csv"]

COLUMNS = ("text", "label", "group", "domain", "slots")
ROWS_PER_INTENT = 150


def write_intents_csv(
    path: str | Path, language: str = "en", rows_per_intent: int = ROWS_PER_INTENT, seed: int = 0
) -> dict[str, int]:
    """Writes `text,label,group,domain,slots`; the same arguments give the same bytes.

    Left out: intents with fewer than 5 groups, sentences that belong to several intents (without the household's
    context nobody could tell), and templates that refer to lists which only a running assistant has.

    Args:
        path: The CSV to write.
        language: As `languages()` has it; names of rooms and devices are English where we have none.
        rows_per_intent: At most as many rows of each intent; its templates may have fewer sentences.
        seed: Another seed is another sample.

    Returns:
        Label -> rows.

    Raises:
        NotFound: an unknown language.
    """
    sampled = sample(language, rows_per_intent, seed)
    labels_of: dict[str, set[str]] = defaultdict(set)
    for label, rows in sampled.items():
        for row in rows:
            labels_of[row.text.lower()].add(label)
    counts: dict[str, int] = {}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for label, rows in sampled.items():
            kept = [row for row in rows if len(labels_of[row.text.lower()]) == 1]
            if len({row.group for row in kept}) < MIN_GROUPS:
                continue
            counts[label] = len(kept)
            writer.writerows((row.text, label, row.group, row.domain, row.combination) for row in kept)
    return counts


class Intents:
    """The demo of the recipe `intents`."""

    about = "intents of a deployed voice assistant, from a CSV like yours to an endpoint that answers."
    pipeline = "train_and_deploy"
    data = "intents.csv"
    params: ClassVar[dict[str, Any]] = {"name": "home-intents", "group_column": "group", "preset": "demo"}

    def write(self, path: Path) -> None:
        """English sentences of all intents."""
        write_intents_csv(path)


demo = Intents()
