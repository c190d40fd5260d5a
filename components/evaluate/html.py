"""The evaluation's report: what a person should see first comes first."""

from __future__ import annotations

from shipway.artifacts import BaselineMetrics, EvaluationRecord, MetricInfo
from shipway.pages import Report, bars, change, figure, inline
from shipway.tasks.base import Task
from shipway.tasks.evaluated import Read


def evaluation_report(record: EvaluationRecord, task: Task, read: Read) -> Report:
    """The report of one evaluation.

    Args:
        record: What was measured.
        task: Adds its own sections.
        read: Gives the files beside the record.
    """
    page = Report(f"Evaluation of {record.name}", f"{record.rows:,} {record.split} rows in {record.groups:,} groups")
    _figures(page, record)
    _baselines(page, record)
    task.evaluation.sections(page, record, read)
    _slices(page, record)
    page.section("Where this comes from").facts(
        {
            "task": record.task,
            "model": record.model_uri,
            "model digest": record.model_digest,
            "variant": f"{record.variant} ({record.variant_digest})",
            "dataset": record.dataset_uri,
            "predictions by row": f"{record.uri}/{record.predictions.path}",
            "evaluated at": record.created_at,
        }
    )
    return page


def _figures(page: Report, record: EvaluationRecord) -> None:
    """Key figures with their intervals, and what must not be overlooked."""
    page.tiles(
        {info.title: (figure(record.metrics[info.name], info.is_share), _about(record, info)) for info in record.shown}
    )
    level = next((f"{i.level:.0%}" for i in record.intervals.values()), None)
    if level:
        page.text(f"Intervals: {level}, by bootstrap over groups, as rows of one group are not independent.")
    for sentence in record.headline:
        page.text(sentence)
    if record.left_out:
        page.callout("warn", "Rows were left out", f"{record.about_left_out}.")


def _about(record: EvaluationRecord, info: MetricInfo) -> str:
    interval = record.intervals.get(info.name)
    if interval is not None:
        return f"{figure(interval.low, info.is_share)} to {figure(interval.high, info.is_share)}"
    return info.about or ("less is better" if info.lower_is_better else "")


def _baselines(page: Report, record: EvaluationRecord) -> None:
    if not record.baselines:
        return
    primary = record.primary
    lost = [b for b in record.baselines if b.model_loses]
    page.section("Beside simple baselines")
    if lost:
        surely = [b for b in lost if _is_sure(b)]
        page.callout(
            "bad" if surely else "warn",
            f"The model loses to: {', '.join(b.title for b in lost)}",
            "The simpler model is the better one here."
            if surely
            else f"The difference is within what chance does on these rows: more {record.split} groups would tell.",
        )
    else:
        page.callout("good", "The model beats its baselines")
    values = {"this model": record.metrics[primary.name]}
    values |= {b.title: b.metrics[primary.name] for b in record.baselines}
    interval = record.intervals.get(primary.name)
    page.chart(
        bars(
            values,
            title=primary.title,
            format=lambda value: figure(value, primary.is_share),
            highlight=["this model"],
            intervals={"this model": (interval.low, interval.high)} if interval else None,
            high=1.0 if primary.is_share else None,
        )
    )
    measured = record.shown_in(record.baselines)
    page.table(
        ["baseline", *(inline(info.title) for info in measured), "this model minus it", "fitted on rows", ""],
        [
            [
                b.title,
                *((figure(b.metrics[info.name], info.is_share), b.metrics[info.name]) for info in measured),
                _difference(b, primary),
                b.trained_rows,
                "a sample of the training rows" if b.sampled else "all training rows",
            ]
            for b in record.baselines
        ],
    )


def _is_sure(lost: BaselineMetrics) -> bool:
    """Whether the whole interval of the difference lies on the baseline's side."""
    between = lost.difference_interval
    return between is None or between.high < 0 or between.low > 0


def _difference(baseline: BaselineMetrics, primary: MetricInfo) -> object:
    if baseline.difference is None:
        return None
    interval, is_share = baseline.difference_interval, primary.is_share
    between = f" ({change(interval.low, is_share)} to {change(interval.high, is_share)})" if interval else ""
    return f"{change(baseline.difference, is_share)}{between}", baseline.difference


def _slices(page: Report, record: EvaluationRecord) -> None:
    if not record.slices:
        return
    measured = record.shown_in(record.slices)
    page.section("Slices").table(
        ["column", "value", "rows", *(inline(info.title) for info in measured)],
        [
            [
                s.column,
                s.value,
                s.rows,
                *((figure(s.metrics[info.name], info.is_share), s.metrics[info.name]) for info in measured),
            ]
            for s in record.slices
        ],
    )
