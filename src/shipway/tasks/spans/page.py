"""The sections on spans of the evaluation's page."""

from __future__ import annotations

from shipway.pages import Report, confusion_matrix, percent
from shipway.tasks.spans.details import Details
from shipway.tasks.spans.figures import BOTH, BOUNDS, INVENTED, KINDS, MISSED, TYPE

MATRIX_CLASSES = 60
NONE = "(none)"


def add_sections(page: Report, details: Details, labels: list[str], counts: list[list[int]]) -> None:
    """Mistakes, types, and which types are taken for which; below 1 MB whatever the number of types.

    Args:
        page: Gets the sections.
        details: What was measured.
        labels: Of `counts`: the model's types, those that only the rows have, and `NONE`.
        counts: Spans by true and answered type.
    """
    page.section("How it errs")
    if details.unknown_types:
        page.callout("warn", about_unknown(details), "Train again with rows that have them.")
    if details.worst:
        page.table(
            ["mistake", "is", "was taken for", "spans", "for example"],
            [[m.kind, m.type or NONE, m.predicted or NONE, m.count, "; ".join(m.examples)] for m in details.worst],
            caption="Most frequent mistakes; [ ] is the true span, { } the answer",
        )
    page.chart(
        confusion_matrix(counts, labels, title="True types and answered ones", limit=MATRIX_CLASSES),
        note=f"The diagonal has the right type, also where the bounds are others. {NONE}: missed or invented.",
    )
    _types(page, details)


def about_mistakes(details: Details) -> str:
    """One sentence on all spans."""
    counts = {kind: details.mistakes.get(kind, 0) for kind in KINDS}
    told = [f"{counts[kind]:,} {kind}" for kind in (BOUNDS, TYPE, BOTH, MISSED) if counts[kind]]
    listed = f" (the others: {', '.join(told)})" if told else ""
    return (
        f"Finds {details.right:,} of {details.spans:,} spans exactly{listed}; {counts[INVENTED]:,} of the "
        f"{details.predicted:,} that it answers are invented."
    )


def about_unknown(details: Details) -> str:
    """One sentence on types that the model never saw."""
    named = ", ".join(f"{name} ({count})" for name, count in list(details.unknown_types.items())[:20])
    return (
        f"{sum(details.unknown_types.values())} spans have a type that the model never saw; none can be right: {named}."
    )


def _types(page: Report, details: Details) -> None:
    ordered = sorted(details.per_type, key=lambda scores: (scores.f1, scores.type))
    page.section("Type by type", "The weakest first. Mistakes are of true spans; invented ones of the model's.").table(
        ["type", "F1", "precision", "recall", "spans", "predicted", *KINDS],
        [
            [
                one.type,
                *((percent(value), value) for value in (one.f1, one.precision, one.recall)),
                one.support,
                one.predicted,
                *(one.mistakes.get(kind, 0) for kind in KINDS),
            ]
            for one in ordered
        ],
    )
