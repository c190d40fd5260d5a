"""The report of a training: what it gave, how it went, what its replicas used, where everything lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from shipway.artifacts import ModelManifest, ReplicaUsage, TrainingRecord
from shipway.pages import Report, bytes_text, duration, figure, lines, number, percent
from shipway.tasks import is_share

Curves = Mapping[str, Sequence[tuple[int, float]]]


def model_report(
    model: ModelManifest, usages: Sequence[ReplicaUsage], curves: Curves, facts: Mapping[str, object], hint: str = ""
) -> Report:
    """The report of a recipe's training.

    Args:
        model: What it published.
        usages: Of its replicas.
        curves: Scalars by name, [step, value] of each interval.
        facts: Where everything lies.
        hint: What to change, where steps waited for their input.
    """
    page = Report(f"Training of {model.name}", f"{model.recipe}, {model.how_trained}")
    told = [name for name in model.metrics if name.startswith("val_") and not name.endswith("_stderr")]
    tiles = {name: figure(model.metrics[name], is_share(name.removeprefix("val_"))) for name in told[:3]}
    page.tiles({**tiles, "Time in training": duration(max((usage.seconds for usage in usages), default=math.nan))})
    _replicas(page, usages, hint)
    losses = {name: list(curves[name]) for name in ("loss", "val_loss") if name in curves}
    if losses:
        page.section("Loss").chart(lines(losses, x_label="step", y_label="loss"))
    for name in [name for name in curves if name.startswith("val_") and name != "val_loss"][:2]:
        page.section(name).chart(lines({name: list(curves[name])}, x_label="step", y_label=name))
    page.section("Where everything lies").facts(facts)
    return page


def _replicas(page: Report, usages: Sequence[ReplicaUsage], hint: str) -> None:
    """A row for each replica, and what to change."""
    if hint:
        page.callout("warn", "Steps waited for their input", hint)
    if not usages:
        return
    has_gpus, has_waits = any(u.gpus for u in usages), any(u.waited_for_input is not None for u in usages)
    columns = ["replica", *(["waited for input"] if has_waits else []), "CPU cores", "memory"]
    columns += ["GPU", "GPU memory"] if has_gpus else []
    rows = []
    for usage in usages:
        cpu, memory = usage.cpu_cores, usage.memory_bytes
        row = [usage.replica, *([percent(usage.waited_for_input)] if has_waits else [])]
        row.append(f"{cpu.mean:.2f}, peak {cpu.peak:.2f} of {number(usage.cpu_limit)}")
        peak, limit = bytes_text(memory.peak), bytes_text(usage.memory_limit_bytes)
        row.append(f"{bytes_text(memory.mean)}, peak {peak} of {limit}")
        rows.append([*row, *(_gpus(usage) if has_gpus else [])])
    note = "Means and peaks of samples, one every few seconds. Waiting for input is a share of the steps' time."
    page.section("What each replica used", note).table(columns, rows)


def _gpus(usage: ReplicaUsage) -> list[str]:
    """Of all GPUs of a replica: how busy they were together, and the memory of the fullest."""
    if not usage.gpus:
        return ["–"] * 2
    mean = sum(gpu.use.mean for gpu in usage.gpus) / len(usage.gpus)
    fullest = max(usage.gpus, key=lambda gpu: gpu.memory_bytes.peak)
    busiest = max(gpu.use.peak for gpu in usage.gpus)
    memory = f"peak {bytes_text(fullest.memory_bytes.peak)} of {bytes_text(fullest.memory_limit_bytes)}"
    return [f"{percent(mean)}, peak {percent(busiest)}", memory]


def training_report(record: TrainingRecord, usages: Sequence[ReplicaUsage] = (), run: str = "") -> Report:
    """The report of a training whose code is a function."""
    workers = f"{record.workers} worker{'s' if record.workers != 1 else ''}"
    page = Report(f"Training of {record.name or record.function}", f"{record.function}, {record.strategy}, {workers}")
    page.tiles({**{name: number(value) for name, value in record.metrics.items()}, "Time": duration(record.seconds)})
    for name, points in record.history.items():
        page.section(name).chart(lines({name: [(step, value) for step, value in points]}, x_label="step", y_label=name))
    _replicas(page, usages, hint="")
    where = {
        "folder": f"{record.uri}/folder.json",
        "TensorBoard": f"shipway tensorboard {run}" if run else f"{record.uri}/tensorboard",
        "restarts": record.restarts,
        "code": record.code or "installed",
    }
    page.section("Where everything lies").facts(where)
    if record.params:
        page.facts(record.params, caption="Arguments")
    return page
