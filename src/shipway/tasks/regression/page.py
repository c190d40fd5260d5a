"""A regression's sections of the evaluation's page."""

from __future__ import annotations

from shipway.pages import Report, columns, lines, number, percent
from shipway.tasks.regression.details import Details

PREVIEW_CHARACTERS = 160


def add_sections(page: Report, details: Details) -> None:
    """Predicted against true, how errors are spread, and the worst rows."""
    _against(page, details)
    _errors(page, details)
    _worst(page, details)


def _against(page: Report, details: Details) -> None:
    low, high = details.truth
    page.section("Predicted against true", "An exact answer lies on the line; above it an answer is too high.").chart(
        lines(
            {"exact": [(low, low), (high, high)]},
            points={"rows": [(true, predicted) for true, predicted in details.points]},
            x_label="true",
            y_label="predicted",
        ),
        f"{len(details.points):,} rows at even steps of the truth.",
    )


def _errors(page: Report, details: Details) -> None:
    middles = [(low + high) / 2 for low, high in zip(details.edges, details.edges[1:], strict=False)]
    page.section("How far it is off", "Predicted minus true: above 0 an answer is too high.").chart(
        columns([number(middle) for middle in middles], details.counts, x_label="error", y_label="rows")
    )
    page.table(
        ["share of the rows", "off by at most"],
        [[percent(share, 0), number(size)] for share, size in details.quantiles],
    )


def _worst(page: Report, details: Details) -> None:
    if details.worst:
        page.section("Worst rows", "The farthest off first.").table(
            ["row", "is", "was answered", "off by"],
            [[row.preview[:PREVIEW_CHARACTERS], row.true, row.predicted, row.error] for row in details.worst],
        )
