"""Rows that are near by their vectors: what is said of them, whatever process wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shipway.components.prep import alike, vectors
from shipway.components.prep.alike_page import add_alike
from shipway.components.prep.hashes import hash_strings
from shipway.components.prep.schema import schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidSpec
from shipway.language.nearest import Floats
from shipway.pages import Report

Row = tuple[str, str, str, int]  # text, label, split, topic: rows of one topic are near
CLASSES = schema_of(DatasetSpec(name="bot", data="rows.csv"))
SPANS = schema_of(DatasetSpec(name="bot", data="rows.csv", recipe="entities"))


def topics(numbers: Sequence[int], width: int = 32) -> Floats:
    """Vectors a cosine of 0.98 and more apart within a topic, below 0.8 between two."""
    draw = np.random.default_rng(1)
    centres = draw.normal(size=(1 + max(numbers, default=0), width))
    return (centres[list(numbers)] + draw.normal(size=(len(numbers), width)) * 0.08).astype(np.float32)


def spilled(scratch: Path, rows: Sequence[Row], owners: int = 1, share: float = 1.0) -> vectors.Vectored | None:
    """The rows as processes leave them, each writing every so-manieth chunk of two, from the last on."""
    given = topics([topic for *_, topic in rows])
    for number, start in enumerate(reversed(range(0, len(rows), 2))):
        part = rows[start : start + 2]
        frame = pl.DataFrame(
            {
                "_piece": pl.Series([0] * len(part), dtype=pl.UInt32),
                "_row": pl.Series([*range(start + 1, start + 1 + len(part))], dtype=pl.UInt32),
                "text": [text for text, *_ in part],
                "label": [label for _, label, *_ in part],
            }
        ).with_columns(pl.Series("_row_hash", hash_strings(pl.Series([f"{start}", f"{start + 1}"][: len(part)]))))
        for place, (*_, split, _topic) in enumerate(part):
            spill = vectors.Spill(scratch, f"p{number % owners}", split, share)
            spill.add(frame[place : place + 1], given[start + place : start + place + 1], CLASSES, "intents")
    return vectors.read(scratch)


def judged(scratch: Path, rows: Sequence[Row], owners: int = 1, **options: Any) -> dict[str, Any]:
    scratch.mkdir(exist_ok=True)
    given = spilled(scratch, rows, owners)
    return alike.judge(given, options.get("schema", CLASSES), lambda piece, row: (f"file{piece}.csv", row))


ROWS: list[Row] = [
    ("lights on", "on", "train", 0), ("turn on the lights", "on", "test", 0), ("lights, please", "off", "train", 0),
    ("lights off", "off", "train", 1), ("turn off", "off", "eval", 2), ("rain?", "weather", "train", 3),
    ("will it rain?", "weather", "eval", 3), ("Lights On", "on", "test", 0),
]  # fmt: skip


def test_rows_of_other_labels_and_of_other_sides_are_named(tmp_path: Path) -> None:
    document = judged(tmp_path, ROWS)
    near = document["near_train"]
    counted = {split: (counts["rows"], counts["near"]) for split, counts in near["splits"].items()}
    assert counted == {"eval": (2, 1), "test": (2, 2)}
    asked = ["will it rain?", "file0.csv row 7", "weather"]
    assert [example[1:] for example in near["examples"] if asked in example] == [
        [asked, ["rain?", "file0.csv row 6", "weather"]]
    ]
    assert alike.figures(document) == {"eval_share_near_train": 0.5, "test_share_near_train": 1.0}
    against = document["contradictions"]
    assert (against["looked_at"], against["rows"], against["label_pairs"]) == (8, 4, 1)
    [[one, other, rows, cosine]] = against["labels"]
    assert (one, other, rows) == ("off", "on", 4)
    assert cosine >= 0.95
    assert ["lights, please", "file0.csv row 3", "off"] in against["examples"][0]
    assert document["clouds"] == {"looked_at": 0, "of": 3, "labels": []}
    told = alike.notes(document, None)
    assert told[0].startswith("1 of 2 (50.0%) rows of eval mean nearly the same as a row of train: ")
    assert told[0].endswith("; a group_column keeps variations of one row on one side")
    assert told[2] == "4 of 8 (50.0%) rows mean nearly the same as a row of another label: off and on (4)"
    assert "is 'customer' the same for variations of one row?" in alike.notes(document, "customer")[0]


def test_a_copy_is_counted_and_is_no_example(tmp_path: Path) -> None:
    document = judged(tmp_path, [("Lights  on", "on", "train", 0), ("lights on", "on", "test", 0)])
    assert document["near_train"] == {"splits": {"test": {"rows": 1, "near": 1, "copies": 1}}, "examples": []}


def test_what_is_said_depends_on_the_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [
        (f"text {n}", f"label {n % 7}", ("train", "train", "eval", "test")[n % 4], n % 60) for n in range(300)
    ]
    one, three = (judged(tmp_path / f"{owners}", rows, owners) for owners in (1, 3))
    assert one == three
    assert one["contradictions"]["rows"] == 300
    monkeypatch.setattr(alike, "COMPARISONS", 300 * 40)
    one, three = (judged(tmp_path / f"some{owners}", rows, owners) for owners in (1, 3))
    assert one == three
    assert one["contradictions"]["looked_at"] == one["contradictions"]["rows"] == 40
    assert one["near_train"]["splits"]["test"]["rows"] == 40
    assert len(one["contradictions"]["examples"]) <= alike.EXAMPLES


def test_where_a_row_may_have_several_classes_other_labels_are_no_contradiction(tmp_path: Path) -> None:
    document = judged(tmp_path, ROWS, schema=SPANS)
    assert set(document) == {"least", "rows", "near_train"}
    assert not any("label" in note for note in alike.notes(document, None))


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "on", "train", 0)],
        [("same", "on", "train", 0)] * 40 + [("same", "on", "test", 0)] * 40,
        [(f"text {n}", f"label {n}", "train", n) for n in range(30)],
        [(f"text {n}", "one", "test", n) for n in range(5)],
    ],
    ids=["one row", "all alike", "a row a label", "no train"],
)
def test_strange_rows_are_judged_and_shown(tmp_path: Path, rows: list[Row]) -> None:
    document = judged(tmp_path, rows)
    assert document["rows"] == len(rows)
    assert document["contradictions"]["rows"] == 0
    report = Report("Dataset")
    add_alike(report, document, None)
    assert "Labels that may be two" in report.render()


def test_nothing_is_said_without_vectors(tmp_path: Path) -> None:
    assert vectors.read(tmp_path) is None
    assert alike.judge(None, CLASSES, lambda piece, row: ("", 0)) == {}
    assert (alike.notes({}, None), alike.figures({})) == ([], {})
    report = Report("Dataset")
    add_alike(report, {}, None)
    assert "nearly" not in report.render()


def test_of_more_rows_a_share_is_kept_chosen_by_a_hash(tmp_path: Path) -> None:
    rows: list[Row] = [(f"text {n}", "on", "train", n % 9) for n in range(400)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, three = spilled(tmp_path / "a", rows, 1, 0.25), spilled(tmp_path / "b", rows, 3, 0.25)
    assert one is not None
    assert three is not None
    assert 60 < len(one) < 140
    assert one.rows.equals(three.rows)
    np.testing.assert_array_equal(one.vectors, three.vectors)
    assert one.texts([0, len(one) - 1]) == three.texts([0, len(one) - 1])
    assert one.texts([5])[5] == rows[one.rows["_row"][5] - 1][0]


@pytest.mark.parametrize("given", [np.zeros(3), np.zeros((2, 4)), np.full((1, 4), np.nan)])
def test_an_encoder_of_ones_own_gives_a_vector_for_each_row(tmp_path: Path, given: Floats) -> None:
    rows = pl.DataFrame({"_piece": [0], "_row": [1], "_row_hash": [1], "text": ["a"], "label": ["on"]})
    with pytest.raises(InvalidSpec, match=r"^recipe 'mine:recipe': its encoder's vectors of 1 rows have shape"):
        vectors.Spill(tmp_path, "p0", "train", 1.0).add(rows, given, CLASSES, "mine:recipe")
