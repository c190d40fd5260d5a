"""A tagger's sections of the evaluation's page."""

from __future__ import annotations

from shipway.pages import Report, lines, percent
from shipway.tasks.tagging.details import Details

PREVIEW_CHARACTERS = 160
_NAMED = 20  # of a list in a sentence


def add_sections(page: Report, details: Details) -> None:
    """Tags, confusions, the threshold and the worst rows."""
    _tags(page, details)
    _confusions(page, details)
    _threshold(page, details)
    _worst_rows(page, details)


def about_unknown(details: Details) -> str:
    """One sentence on rows with tags that the model never saw."""
    named = ", ".join(f"{tag} ({count})" for tag, count in list(details.unknown_tags.items())[:_NAMED])
    return f"{details.unknown_rows} rows have tags that the model never saw, which count as missed: {named}."


def short(preview: str) -> str:
    """As much of a preview as a cell or a sentence takes."""
    return preview if len(preview) <= PREVIEW_CHARACTERS else f"{preview[:PREVIEW_CHARACTERS]}..."


def _tags(page: Report, details: Details) -> None:
    page.section(
        "Tag by tag", "The weakest first; F1, precision and recall of tags that are named from a score of 0.5."
    )
    if details.unknown_tags:
        page.callout("warn", about_unknown(details), "Train again with rows of these tags.")
    known = [tag for tag in details.per_tag if tag.support or tag.named]
    page.table(
        ["tag", "average precision", "F1", "precision", "recall", "rows", "given to"],
        [
            [
                tag.tag,
                ("-", -1.0) if tag.average_precision is None else _share(tag.average_precision),
                _share(tag.f1),
                _share(tag.precision),
                _share(tag.recall),
                tag.support,
                tag.named,
            ]
            for tag in sorted(known, key=lambda tag: (tag.average_precision or 0.0, tag.f1, tag.tag))
        ],
    )


def _share(value: float) -> tuple[str, float]:
    return percent(value), value


def _confusions(page: Report, details: Details) -> None:
    page.section("What it names in place of what", "Rows that lack one of their tags and are given another.")
    if not details.confusions:
        page.text("No row lacks one of its tags and is given another.")
        return
    page.table(
        ["has, was not given", "was given, has not", "rows", "for example"],
        [[pair.missed, pair.named, pair.count, f"“{short(pair.example)}”"] for pair in details.confusions],
        caption="Most frequent pairs",
    )


def _threshold(page: Report, details: Details) -> None:
    threshold = details.threshold
    page.section("From which score a tag is named")
    if threshold is None:
        page.text("From 0.5: without rows of an eval split whose tags it scores, no threshold was calibrated.")
        return
    page.text(
        f"From {threshold.value:.3f} at an endpoint, calibrated on the {threshold.calibrated_on} split. On these rows "
        f"{percent(threshold.precision)} of the tags that it then names are right, and it finds "
        f"{percent(threshold.recall)} of the tags that rows have."
    )
    page.chart(
        lines(
            {
                "precision": [(value, precision) for value, precision, _recall in threshold.curve],
                "recall": [(value, recall) for value, _precision, recall in threshold.curve],
            },
            title="Precision and recall by threshold",
            x_label="threshold",
            y_label="share",
            format=percent,
            marks={"threshold": threshold.value},
        )
    )


def _worst_rows(page: Report, details: Details) -> None:
    page.section("Worst rows", "Those with most tags wrongly given or missed, at 0.5.")
    if not details.worst_rows:
        page.text("None: every row is given its tags.")
        return
    page.table(
        ["row", "has", "was given"],
        [[short(row.preview), _names(row.tags), _names(row.named)] for row in details.worst_rows],
    )


def _names(tags: list[str]) -> str:
    return ", ".join(tags) or "(none)"
