"""A regression's sections of the evaluation's page."""

from __future__ import annotations

from shipway.pages import Report, columns, lines, number, percent
from shipway.tasks.regression.details import Details

PREVIEW_CHARACTERS = 160


def add_sections(page: Report, found: Details) -> None:
    """Predicted against true, how errors are spread, and the worst rows."""
    _against(page, found)
    _errors(page, found)
    _worst(page, found)


def _against(page: Report, found: Details) -> None:
    low, high = found.truth
    page.section("Predicted against true", "An exact answer lies on the line; above it an answer is too high.").chart(
        lines(
            {"exact": [(low, low), (high, high)]},
            points={"rows": [(true, predicted) for true, predicted in found.points]},
            x_label="true",
            y_label="predicted",
        ),
        f"{len(found.points):,} rows at even steps of the truth.",
    )


def _errors(page: Report, found: Details) -> None:
    middles = [(low + high) / 2 for low, high in zip(found.edges, found.edges[1:], strict=False)]
    page.section("How far it is off", "Predicted minus true: above 0 an answer is too high.").chart(
        columns([number(middle) for middle in middles], found.counts, x_label="error", y_label="rows")
    )
    page.table(
        ["share of the rows", "off by at most"],
        [[percent(share, 0), number(size)] for share, size in found.quantiles],
    )


def _worst(page: Report, found: Details) -> None:
    if found.worst:
        page.section("Worst rows", "The farthest off first.").table(
            ["row", "is", "was answered", "off by"],
            [[row.preview[:PREVIEW_CHARACTERS], row.true, row.predicted, row.error] for row in found.worst],
        )
