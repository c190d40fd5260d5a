"""The evaluation's report: what a person should see first comes first."""

from __future__ import annotations

from shipway.artifacts import BaselineMetrics, EvaluationRecord
from shipway.components.evaluate.core import Ints
from shipway.report import Report, bars, confusion_matrix, lines, percent

MATRIX_CLASSES = 60
EXAMPLE_CHARACTERS = 160


def evaluation_report(record: EvaluationRecord, counts: Ints) -> Report:
    """The report of one evaluation; below 1 MB whatever the number of classes.

    Args:
        record: What was measured.
        counts: The confusion matrix, in the order of `all_labels(record)`.
    """
    page = Report(f"Evaluation of {record.name}", f"{record.rows:,} {record.split} rows in {record.groups:,} groups")
    _figures(page, record)
    _baselines(page, record)
    _confusions(page, record, counts)
    _classes(page, record)
    _slices(page, record)
    _confidence(page, record)
    page.section("Where this comes from").facts(
        {
            "model": record.model_uri,
            "model digest": record.model_digest,
            "dataset": record.dataset_uri,
            "predictions by row": f"{record.uri}/{record.predictions.path}",
            "evaluated at": record.created_at,
        }
    )
    return page


def all_labels(record: EvaluationRecord) -> list[str]:
    """The model's labels and, behind them, those that only the rows have: the order of the confusion matrix."""
    return [*record.labels, *record.unknown_labels]


def _figures(page: Report, record: EvaluationRecord) -> None:
    """Key figures with their intervals, and what must not be overlooked."""
    metrics = record.metrics
    tiles: dict[str, object] = {}
    for name, title in (("accuracy", "Accuracy"), ("macro_f1", "Macro F1"), ("weighted_f1", "Weighted F1")):
        interval = record.intervals.get(name)
        between = f"{percent(interval.low)} to {percent(interval.high)}" if interval else "no interval asked for"
        tiles[title] = (percent(metrics[name]), between)
    tiles["Calibration error"] = (percent(metrics["ece"]), "ECE: how far its probabilities are from the truth")
    tiles["Log loss"] = (f"{metrics['log_loss']:.3f}", "0 is certain and right")
    page.tiles(tiles)
    level = next((f"{i.level:.0%}" for i in record.intervals.values()), None)
    if level:
        page.text(f"Intervals: {level}, by bootstrap over groups, as rows of one group are not independent.")
    if record.unknown_labels:
        named = ", ".join(f"{label} ({rows})" for label, rows in list(record.unknown_labels.items())[:20])
        page.callout(
            "warn",
            f"{record.unknown_label_rows} rows have a label that the model never saw; they count as errors",
            f"{named}. Train again with rows of these labels.",
        )
    if record.left_out:
        page.callout("warn", "Rows were left out", f"{record.about_left_out}.")


def _baselines(page: Report, record: EvaluationRecord) -> None:
    if not record.baselines:
        return
    names = {"majority": "most frequent label", "linear_svm": "linear SVM"}
    lost = [b for b in record.baselines if b.model_loses]
    page.section("Beside simple baselines")
    if lost:
        named = ", ".join(names.get(b.name, b.name) for b in lost)
        surely = [b for b in lost if b.difference_interval is None or b.difference_interval.high < 0]
        page.callout(
            "bad" if surely else "warn",
            f"The model loses to: {named}",
            "The simpler model is the better one here."
            if surely
            else "The difference is within what chance does on these rows: more test groups would tell.",
        )
    else:
        page.callout("good", "The model beats its baselines")
    values = {"this model": record.metrics["accuracy"]}
    values |= {names.get(b.name, b.name): b.accuracy for b in record.baselines}
    interval = record.intervals.get("accuracy")
    page.chart(
        bars(
            values,
            title="Accuracy",
            format=percent,
            highlight=["this model"],
            intervals={"this model": (interval.low, interval.high)} if interval else None,
            high=1.0,
        )
    )
    page.table(
        ["baseline", "accuracy", "macro F1", "the model is ahead by", "fitted on rows", ""],
        [
            [
                names.get(b.name, b.name),
                (percent(b.accuracy), b.accuracy),
                (percent(b.macro_f1), b.macro_f1),
                _ahead(b),
                b.trained_rows,
                "a sample of the training rows" if b.sampled else "all training rows",
            ]
            for b in record.baselines
        ],
    )


def _ahead(baseline: BaselineMetrics) -> object:
    if baseline.difference is None:
        return None
    found = baseline.difference_interval
    between = f" ({found.low * 100:+.1f} to {found.high * 100:+.1f})" if found else ""
    return f"{baseline.difference * 100:+.1f} points{between}", baseline.difference


def _confusions(page: Report, record: EvaluationRecord, counts: Ints) -> None:
    page.section("What it confuses")
    if record.worst_confusions:
        page.table(
            ["is", "was taken for", "rows", "for example (probability)"],
            [[c.label, c.predicted, c.count, _examples(c.examples)] for c in record.worst_confusions],
            caption="Most frequent confusions",
        )
    else:
        page.text("Nothing: every row is answered rightly.")
    page.chart(confusion_matrix(counts, all_labels(record), title="Confusion matrix", limit=MATRIX_CLASSES))


def _examples(examples: list[dict[str, object]]) -> str:
    shown = []
    for example in examples:
        text = str(example["text"])
        short = text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]}..."
        shown.append(f"“{short}” ({example['probability']:.2f})")
    return "; ".join(shown)


def _classes(page: Report, record: EvaluationRecord) -> None:
    ordered = sorted(record.per_class, key=lambda found: (found.f1, found.label))
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


def _slices(page: Report, record: EvaluationRecord) -> None:
    if record.slices:
        page.section("Slices").table(
            ["column", "value", "rows", "accuracy", "macro F1"],
            [
                [s.column, s.value, s.rows, (percent(s.accuracy), s.accuracy), (percent(s.macro_f1), s.macro_f1)]
                for s in record.slices
            ],
        )


def _confidence(page: Report, record: EvaluationRecord) -> None:
    page.section(
        "How sure it is, and how right",
        "A calibrated model is right as often as its probability says: its dots lie on the diagonal.",
    )
    dots = [(mean, accuracy) for _low, _high, _rows, mean, accuracy in record.calibration_bins]
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
    threshold = record.threshold
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
