"""A classifier's sections of the evaluation's page."""

from __future__ import annotations

from shipway.pages import Report, confusion_matrix, lines, percent
from shipway.tasks.classification.details import Details, Threshold
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
        f"Out-of-scope threshold {threshold.value:.3f} of the {threshold.of}, calibrated on the "
        f"{threshold.calibrated_on} split: an answer below it is “none of these”. On these rows "
        f"{percent(threshold.coverage)} are answered, and {percent(threshold.accuracy)} of those rightly."
    )
    if threshold.other is not None:
        page.text(_about_sureness(threshold, threshold.other))
    curves = {each.of: [(x, y) for _, x, y in each.curve] for each in (threshold, threshold.other) if each is not None}
    page.chart(
        lines(
            {f"by {score}": curves[score] for score in sorted(curves)}
            if len(curves) > 1
            else {"accuracy on what is answered": curves[threshold.of]},
            title="Coverage against accuracy",
            x_label="share of rows answered",
            y_label="accuracy",
            format=percent,
            marks={"threshold": threshold.coverage},
        )
    )


def _about_sureness(used: Threshold, other: Threshold) -> str:
    """What it is, and why it is used or not."""
    right = [percent(each.calibration_accuracy or 0.0) for each in (used, other)]
    why = "it keeps out what the model is sure of and has seen nothing like."
    if used.of == "probability":
        why = "it is not used here, since more wrong answers would come through."
    return (
        f"Sureness is the probability, and less for a row that is unlike those of the training: {why} Of the "
        f"{used.calibrated_on} rows that are answered by {used.of} {right[0]} are right, by {other.of} {right[1]}."
    )
