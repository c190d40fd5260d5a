"""The report of a training whose code is a function: what it gave, how it went, where its folder lies."""

from __future__ import annotations

from shipway.artifacts import TrainingRecord
from shipway.pages import Report, duration, lines, number


def training_report(record: TrainingRecord) -> Report:
    """The report as blocks."""
    workers = f"{record.workers} worker{'s' if record.workers != 1 else ''}"
    page = Report(f"Training of {record.name or record.function}", f"{record.function}, {record.strategy}, {workers}")
    page.tiles({**{name: number(value) for name, value in record.metrics.items()}, "Time": duration(record.seconds)})
    for name, points in record.history.items():
        page.section(name).chart(lines({name: [(step, value) for step, value in points]}, x_label="step", y_label=name))
    where = {
        "folder": f"{record.uri}/folder.json",
        "TensorBoard": f"tensorboard --logdir {record.uri}/tensorboard",
        "restarts": record.restarts,
        "code": record.code or "installed",
    }
    page.section("Where everything lies").facts(where)
    if record.params:
        page.facts(record.params, caption="Arguments")
    return page
