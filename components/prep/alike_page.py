"""The page's sections on rows that mean nearly the same: what to read, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shipway.pages import Report, percent

CUT = 120  # characters of a text in a cell


def add_alike(report: Report, document: Mapping[str, Any], group_column: str | None) -> None:
    """Of `alike.judge`'s document; nothing where the encoder has no vectors."""
    if not document:
        return
    _near_train(report, document, group_column)
    if "contradictions" in document:
        _contradictions(report, document)
        _clouds(report, document["clouds"])


def _near_train(report: Report, document: Mapping[str, Any], group_column: str | None) -> None:
    near = document["near_train"]
    advice = (
        f"If they are variations of one row, the groups of {group_column!r} are too small: give those rows one group."
        if group_column
        else "If they are variations of one row (a template, a customer, a translation), name a group_column that "
        "keeps them together."
    )
    report.section(
        "Rows that train nearly has",
        f"Near: their vectors have a cosine of at least {document['least']}. Figures on such rows flatter the model. "
        f"{advice}",
    )
    report.table(
        ["split", "rows looked at", "near a row of train", "share", "of these the same input"],
        [
            [split, counts["rows"], counts["near"], _share(counts["near"] / counts["rows"]), counts["copies"]]
            for split, counts in near["splits"].items()
        ],
        caption=f"Compared with the rows of train among {document['rows']:,} rows",
        sortable=False,
    )
    if near["examples"]:
        report.table(
            ["cosine", "row", "label", "row of train", "label"],
            [_pair(pair) for pair in near["examples"]],
            caption="Some of them, from the most alike to the least",
        )


def _contradictions(report: Report, document: Mapping[str, Any]) -> None:
    found = document["contradictions"]
    report.section("Labels that may contradict each other")
    if not found["rows"]:
        report.text(f"None of {found['looked_at']:,} rows is near a row of another label.")
        return
    report.text(
        f"{found['rows']:,} of {found['looked_at']:,} rows are near a row of another label (cosine {document['least']} "
        "or more). Where both ask for the same, correct the label that is wrong, or make one label of two that people "
        "cannot tell apart. Where one word makes the difference (mute, unmute), the encoder misses it: leave them."
    )
    report.table(
        ["label", "other label", "near rows", "highest cosine"],
        [[*names, _cosine(cosine)] for *names, cosine in found["labels"]],
        caption="By labels",
    )
    if found["label_pairs"] > len(found["labels"]):
        report.text(f"And {found['label_pairs'] - len(found['labels']):,} more pairs of labels.")
    report.table(
        ["cosine", "row", "label", "other row", "label"],
        [_pair(pair) for pair in found["examples"]],
        caption="The most alike pairs, at most three of two labels",
    )


def _clouds(report: Report, found: Mapping[str, Any]) -> None:
    all_judged = found["looked_at"] == found["of"]
    too_few = "" if all_judged else "; the others have too few rows, or there are too few labels to compare with"
    report.section(
        "Labels that may be two",
        f"Rows of {found['looked_at']} of {found['of']} labels were cut into two clouds{too_few}. A label is named "
        "where its clouds are less alike than three of ten pairs of labels here. Where the clouds are two things, give "
        "each a label. Where they are two ways of saying one thing, leave it.",
    )
    if not found["labels"]:
        report.text("None is named.")
        return
    report.table(
        ["label", "rows", "one cloud", "such as", "the other", "such as", "label pairs more alike"],
        [
            [
                label["label"],
                label["rows"],
                label["sizes"][0],
                _examples(label["examples"][0]),
                label["sizes"][1],
                _examples(label["examples"][1]),
                _share(label["apart"]),
            ]
            for label in found["labels"]
        ],
    )


def _pair(pair: list[Any]) -> list[object]:
    cosine, one, two = pair
    return [_cosine(cosine), _said(one), one[2], _said(two), two[2]]


def _said(row: list[str]) -> str:
    text, place, _ = row
    return f"{text[:CUT]} ({place})"


def _examples(rows: list[list[str]]) -> str:
    return " · ".join(_said(row) for row in rows)


def _cosine(cosine: float) -> tuple[str, float]:
    return f"{cosine:.3f}", cosine


def _share(share: float) -> tuple[str, float]:
    return percent(share), share
