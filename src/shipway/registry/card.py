"""Model cards: what a person should know before using a version, filled from the records.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting", as far as records can fill them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shipway.artifacts import EvaluationRecord, MetricInfo, ModelManifest, Speed
from shipway.pages import Report, bytes_text, figure, number
from shipway.registry.record import ModelVersion

_SHOWN_LABELS = 200


@dataclass(frozen=True)
class Section:
    """Sentences, and a table below them."""

    title: str
    text: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[object]] = field(default_factory=list)


def card_markdown(version: ModelVersion) -> str:
    """The card as Markdown."""
    parts = [f"# {version.name}, version {version.version}"]
    for section in _sections(version):
        parts.append(f"## {section.title}")
        parts += [_escape(sentence) for sentence in section.text]
        if section.rows:
            lines: list[list[object]] = [list(section.columns), ["---"] * len(section.columns), *section.rows]
            parts.append("\n".join("| " + " | ".join(_escape(str(cell)) for cell in line) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def card_html(version: ModelVersion) -> str:
    """The same as one HTML file."""
    page = Report(f"{version.name}, version {version.version}", "Model card")
    for section in _sections(version):
        page.section(section.title)
        for sentence in section.text:
            page.text(sentence)
        if section.rows:
            page.table(section.columns, section.rows, max_rows=300)
    return page.render()


def _escape(text: str) -> str:
    """Users' labels and texts must not become markup or break a table."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _sections(version: ModelVersion) -> Iterator[Section]:
    yield _intended_use(version)
    yield _data(version)
    yield from _figures(version.evaluation)
    yield _limits(version)
    if version.decision is not None:
        judged = [rule for rule in version.decision.rules if rule.applies]
        yield Section(
            "Decision",
            [f"{version.decision.decision}: {version.decision.reason}"],
            ["rule", "passed", "value", "bound", "detail"],
            [[r.rule, "yes" if r.passed else "no", _number(r.value), _number(r.bound), r.detail] for r in judged],
        )
    yield from _provenance(version)


def _intended_use(version: ModelVersion) -> Section:
    labels = version.model.labels
    text = [f"Task {version.model.task}, for inputs like the rows that it was trained on."]
    if labels:
        shown = ", ".join(labels[:_SHOWN_LABELS]) + (" ..." if len(labels) > _SHOWN_LABELS else "")
        text.append(f"{len(labels)} labels: {shown}.")
    return Section("Intended use", text)


def _data(version: ModelVersion) -> Section:
    rows = ", ".join(f"{split} {count:,} rows" for split, count in version.dataset_rows.items())
    text = [f"Dataset {version.dataset_fingerprint}" + (f": {rows}." if rows else ".")]
    if version.dataset_source:
        text.append(f"Source: {version.dataset_source}.")
    if version.evaluation is not None:
        text.append(
            f"Evaluated on the {version.evaluation.split} split: {version.evaluation.rows:,} rows in "
            f"{version.evaluation.groups:,} groups that training never saw."
        )
    return Section("Data", text)


def _figures(evaluation: EvaluationRecord | None) -> Iterator[Section]:
    if evaluation is None:
        yield Section("Metrics", ["This version was registered without an evaluation."])
        return
    yield Section(
        "Metrics",
        evaluation.headline,
        ["metric", "value", "interval"],
        [[i.title, *_cells(evaluation.metrics, [i]), _interval(evaluation, i)] for i in evaluation.shown],
    )
    shown = evaluation.shown_in(evaluation.baselines)
    yield Section(
        "Baselines",
        [f"The model loses to the {b.title}." for b in evaluation.baselines if b.model_loses],
        ["baseline", *(info.title for info in shown), "fitted on rows"],
        [
            [b.title, *_cells(b.metrics, shown), f"{b.trained_rows:,}" + (" (a sample)" if b.sampled else "")]
            for b in evaluation.baselines
        ],
    )
    if evaluation.slices:
        shown = evaluation.shown_in(evaluation.slices)
        yield Section(
            "Slices",
            [],
            ["column", "value", "rows", *(info.title for info in shown)],
            [[s.column, s.value, s.rows, *_cells(s.metrics, shown)] for s in evaluation.slices],
        )


def _limits(version: ModelVersion) -> Section:
    evaluation = version.evaluation
    text = ["Inputs of another kind than its rows, in another language or domain, are outside of what was measured."]
    if evaluation is not None:
        text += evaluation.limits
        if evaluation.left_out:
            text.append(f"{evaluation.about_left_out}.")
    return Section("Limits", text)


def _provenance(version: ModelVersion) -> Iterator[Section]:
    model = version.model
    facts: list[list[object]] = [[name, text] for name, text in sorted(model.facts.items())]
    text = "Times are of encoded rows, on the machine that exported it, without HTTP."
    yield Section("Variants", [f"Served: {model.serving}. {text}"], *variants_table(model))
    yield Section(
        "How it was made",
        [],
        ["what", "value"],
        [
            ["registered", version.created_at],
            ["run", version.run or "none"],
            ["digest", version.digest],
            ["training job", f"{model.job} ({model.how_trained})"],
            ["recipe", model.recipe],
            ["code", model.code or "none of its own"],
            ["seed", model.seed],
            *facts,
            ["weights", f"{model.parameter_count:,}" if model.parameter_count else "not counted"],
            ["files", f"{len(model.files)}, {bytes_text(sum(file.size_bytes for file in model.files))}"],
            ["git commit", model.git_commit or "none"],
            ["image", model.image or "none"],
            ["shipway", version.shipway_version],
        ],
    )
    if model.params:
        yield Section("Parameters", [], ["parameter", "value"], [[k, str(v)] for k, v in sorted(model.params.items())])
    if model.versions:
        yield Section("Versions", [], ["library", "version"], [[k, v] for k, v in sorted(model.versions.items())])


def variants_table(model: ModelManifest) -> tuple[list[str], list[list[object]]]:
    """A model's variants, the served one first: headings, and a row for each."""
    columns = ["variant", "size", "largest difference", "one row p50 (ms)", "p99 (ms)", f"rows/s by {Speed.BATCH}",
               "load (ms)", "threads"]  # fmt: skip
    rows: list[list[object]] = []
    for each in sorted(model.variants, key=lambda variant: variant.name != model.serving):
        parity, speed = each.parity, each.speed
        agrees = "compared with" if parity is None else f"{parity.max_abs_diff:.1e}"
        if not each.may_be_served:
            agrees += " (too far)"
        times = (
            [number(value) for value in (speed.p50_ms, speed.p99_ms, speed.rows_per_s, speed.load_ms)]
            if speed
            else ["not measured"] * 4
        )
        threads = (speed.threads or "all") if speed else ""
        rows.append([each.name, bytes_text(each.size_bytes), agrees, *times, threads])
    return columns, rows


def _cells(metrics: Mapping[str, float], shown: Sequence[MetricInfo]) -> list[str]:
    return [figure(metrics[info.name], info.is_share) for info in shown]


def _interval(evaluation: EvaluationRecord, info: MetricInfo) -> str:
    interval = evaluation.intervals.get(info.name)
    if interval is None:
        return ""
    return f"{figure(interval.low, info.is_share)} to {figure(interval.high, info.is_share)} ({interval.level:.0%})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
