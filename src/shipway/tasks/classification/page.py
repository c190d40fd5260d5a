"""A classifier's sections of the evaluation's page."""

from __future__ import annotations

from shipway.pages import Report, confusion_matrix, lines, percent
from shipway.tasks.classification.details import Details
from shipway.tasks.classification.figures import Ints

MATRIX_CLASSES = 60
EXAMPLE_CHARACTERS = 160


def add_sections(page: Report, details: Details, labels: list[str], counts: Ints) -> None:
    """Confusions, classes and calibration; small enough for a page below 1 MB whatever the number of classes.

    Args:
        page: Gets the sections.
        details: What was measured.
        labels: Of `counts`: the model's and, behind them, those that only the rows have.
        counts: The confusion matrix.
    """
    _confusions(page, details, labels, counts)
    _classes(page, details)
    _confidence(page, details)


def about_unknown(details: Details) -> str:
    """One sentence on rows whose label the model never saw."""
    rows = sum(details.unknown_labels.values())
    named = ", ".join(f"{label} ({count})" for label, count in list(details.unknown_labels.items())[:20])
    return f"{rows} rows have a label that the model never saw; they count as errors: {named}."


def _confusions(page: Report, details: Details, labels: list[str], counts: Ints) -> None:
    page.section("What it confuses")
    if details.unknown_labels:
        page.callout("warn", about_unknown(details), "Train again with rows of these labels.")
    if details.worst_confusions:
        page.table(
            ["is", "was taken for", "rows", "for example (probability)"],
            [[c.label, c.predicted, c.count, _examples(c.examples)] for c in details.worst_confusions],
            caption="Most frequent confusions",
        )
    else:
        page.text("Nothing: every row is answered rightly.")
    page.chart(confusion_matrix(counts, labels, title="Confusion matrix", limit=MATRIX_CLASSES))


def _examples(examples: list[dict[str, object]]) -> str:
    shown = []
    for example in examples:
        text = str(example["preview"])
        short = text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]}..."
        shown.append(f"“{short}” ({example['probability']:.2f})")
    return "; ".join(shown)


def _classes(page: Report, details: Details) -> None:
    ordered = sorted(details.per_class, key=lambda scores: (scores.f1, scores.label))
    page.section("Class by class", "The weakest first.").table(
        ["label", "F1", "precision", "recall", "rows"],
        [
            [
                c.label,
                (percent(c.f1), c.f1),
                (percent(c.precision), c.precision),
                (percent(c.recall), c.recall),
                c.support,
            ]
            for c in ordered
        ],
    )


def _confidence(page: Report, details: Details) -> None:
    page.section(
        "How sure it is, and how right",
        "A calibrated model is right as often as its probability says: its dots lie on the diagonal.",
    )
    dots = [(mean, accuracy) for _low, _high, _rows, mean, accuracy in details.calibration_bins]
    page.chart(
        lines(
            {"perfectly calibrated": [(0.0, 0.0), (1.0, 1.0)]},
            points={"this model": dots},
            title="Calibration",
            x_label="probability of the answer",
            y_label="share that is right",
            format=percent,
        )
    )
    threshold = details.threshold
    if threshold is None:
        page.text("No out-of-scope threshold: the dataset has no eval split to calibrate it on.")
        return
    page.text(
        f"Out-of-scope threshold {threshold.value:.3f}, calibrated on the {threshold.calibrated_on} split: an answer "
        f"below it is “none of these”. On these rows {percent(threshold.coverage)} are answered, and "
        f"{percent(threshold.accuracy)} of those rightly."
    )
    page.chart(
        lines(
            {"accuracy on what is answered": [(coverage, accuracy) for _t, coverage, accuracy in threshold.curve]},
            title="Coverage against accuracy",
            x_label="share of rows answered",
            y_label="accuracy",
            format=percent,
            marks={"threshold": threshold.coverage},
        )
    )
