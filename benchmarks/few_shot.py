"""A model with a sentence encoder, trained on few rows a class, against a linear SVM over n-grams and against itself
without the encoder.

    python -m benchmarks.few_shot [set ...]

Each set, cut to 5, 10 and 20 training rows a class, goes through `shipway run train_and_deploy` twice: with the encoder
and without. All accuracies are those that the evaluation steps wrote down, on the same test rows; the SVM is that
step's baseline. The test rows are a fifth of the sentence templates, or of the sentences where a set has no templates.
"""

from __future__ import annotations

import csv
import json
import math
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._recipe_sets import write_set
from benchmarks._runs import shipway, train_and_deploy

SETS = ("en", "de", "docstrings-77")
ROWS = (5, 10, 20)  # a class
TEST_SHARE = 0.2
EVAL_SHARE = 0.15  # of the training rows, beside them
PRESET = "demo"  # no search, one worker
ENCODERS = {"ours": "use-multilingual-3", "without": "none"}
GOAL = 1.03


def write_few(path: Path, name: str, rows_per_class: int | None, seed: int = 0) -> int:
    """Writes `text,label,split` of one set; the same environment gives the same bytes.

    Args:
        path: The CSV to write.
        name: Of a set.
        rows_per_class: Of the training split; a class may have fewer. None: all but those of the eval split.
        seed: Which rows of a class are drawn; the test rows are always the same.

    Returns:
        Rows of the training split.
    """
    columns = write_set(path, name)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    draw = random.Random(f"{name} {rows_per_class} {seed}" if seed else f"{name} {rows_per_class}")
    groups = sorted({row[columns.get("group_column", "text")] for row in rows})
    of_test = set(random.Random(name).sample(groups, round(TEST_SHARE * len(groups))))
    by_label: dict[str, list[str]] = defaultdict(list)
    test: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        side = test if row[columns.get("group_column", "text")] in of_test else by_label
        side[row["label"]].append(row["text"])
    train, rest = [], []
    for label, texts in by_label.items():
        draw.shuffle(texts)
        taken = rows_per_class or math.ceil(len(texts) / (1 + EVAL_SHARE))
        train += [(text, label, "train") for text in texts[:taken]]
        rest += [(text, label, "eval") for text in texts[taken:]]
    held_out = draw.sample(rest, min(len(rest), round(EVAL_SHARE * len(train))))
    asked = [(text, label, "test") for label, texts in test.items() if label in by_label for text in texts]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("text", "label", "split"), *train, *held_out, *asked])
    return len(train)


def measure(name: str, rows_per_class: int, folder: Path) -> dict[str, Any]:
    """One line: three accuracies in per cent, and how many test rows they stand on."""
    (folder / "data").mkdir(exist_ok=True)
    data = folder / "data" / f"{name}-{rows_per_class}.csv"
    line: dict[str, Any] = {"train_rows": write_few(data, name, rows_per_class)}
    for side, encoder in ENCODERS.items():
        overrides = {"dataset": {"encoder": {"sentence_encoder": encoder}, "max_bad_fraction": 0.5}}
        run = train_and_deploy(
            folder,
            {"name": f"{name}-{rows_per_class}-{side}", "data": str(data), "split_column": "split", "preset": PRESET,
             "overrides": json.dumps(overrides)},
        )  # fmt: skip
        evaluation = run["evaluation"]
        line[side] = round(100 * evaluation["metrics"]["accuracy"], 2)
        line["svm"] = round(100 * evaluation["baselines"]["linear_svm"]["metrics"]["accuracy"], 2)
        line["test_rows"] = evaluation["rows"]
    return line


def main(names: Sequence[str] = SETS) -> dict[str, Any]:
    """The benchmark's line: accuracy over the SVM's, averaged over sets and sizes."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            lines = {}
            for name in names:
                for rows in ROWS:
                    lines[f"{name}, {rows}"] = measure(name, rows, Path(folder))
                    print(json.dumps({f"{name}, {rows}": lines[f"{name}, {rows}"]}), file=sys.stderr, flush=True)
        finally:
            shipway(Path(folder), "down")
    over_svm, over_without = (
        statistics.mean(line["ours"] / line[side] for line in lines.values()) for side in ("svm", "without")
    )
    return {
        "name": "few_shot",
        "ratio": round(over_svm, 4),
        "goal": GOAL,
        "meets_goal": over_svm >= GOAL and over_without >= 1.0,
        "baseline": "accuracy of a linear SVM over TF-IDF of words 1-2 and characters 2-5 on the same rows",
        "details": {"preset": PRESET, "over_without_encoder": round(over_without, 4), "sets": lines},
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:] or SETS), sort_keys=True))
