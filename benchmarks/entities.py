"""Entity F1 of the recipe `entities` against the better of its baselines, on the slots of three languages.

    python -m benchmarks.entities [language ...]

Each language goes through `shipway run train_and_deploy` with the recipe's defaults and no search; all figures are
those that its evaluation step wrote down, on test rows that neither side has seen: no template is on both sides.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._runs import shipway, train_and_deploy
from shipway.demos.entities import write_entities_jsonl

LANGUAGES = ("en", "de", "fr")
ROWS_PER_INTENT = 100
PRESET = "quick"
# A rare slot may have all its templates in one split.
OVERRIDES = {"dataset": {"on_unseen_label": "quarantine", "max_bad_fraction": 0.2}, "training": {"epochs": 16}}


def measure(language: str, folder: Path) -> dict[str, Any]:
    """One language's line: F1 in per cent, and how many test rows and spans it stands on."""
    data = folder / f"{language}.jsonl"
    write_entities_jsonl(data, [language], ROWS_PER_INTENT)
    run = train_and_deploy(
        folder,
        {"name": f"slots-{language}", "data": str(data), "recipe": "entities", "label_column": "spans",
         "group_column": "group", "preset": PRESET, "overrides": json.dumps(OVERRIDES)},
    )  # fmt: skip
    evaluation = run["evaluation"]
    baselines = {name: baseline["metrics"]["f1"] for name, baseline in evaluation["baselines"].items()}
    low, high = evaluation["intervals"]["f1"]
    return {
        "ours": round(100 * evaluation["metrics"]["f1"], 2),
        "interval": [round(100 * low, 1), round(100 * high, 1)],
        **{name: round(100 * f1, 2) for name, f1 in baselines.items()},
        "ratio": round(evaluation["metrics"]["f1"] / max(baselines.values()), 4),
        "types": evaluation["facts"]["types"],
        "spans": evaluation["facts"]["spans"],
        "test_rows": evaluation["rows"],
        "train_s": next(round(step["seconds"]) for step in run["steps"] if step["role"] == "train"),
    }


def main(languages: Sequence[str] = LANGUAGES) -> dict[str, Any]:
    """The benchmark's line: the least ratio of the languages, which are all to be above the baselines."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            sets = {}
            for language in languages:
                sets[language] = measure(language, Path(folder))
                print(json.dumps({language: sets[language]}), file=sys.stderr, flush=True)
        finally:
            shipway(Path(folder), "down")
    ratios = [line["ratio"] for line in sets.values()]
    return {
        "name": "entities",
        "ratio": round(min(ratios), 4),
        "goal": 1.0,
        "meets_goal": min(ratios) > 1.0,
        "baseline": "entity F1 of a dictionary or an averaged perceptron, the better, on the same rows; worst of three",
        "details": {"mean_ratio": round(statistics.mean(ratios), 4), "preset": PRESET, "sets": sets},
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:] or LANGUAGES), sort_keys=True))
