"""Model cards: what a person should know before using a version, filled from the records.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting", as far as records can fill them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shipway.artifacts import EvaluationRecord
from shipway.registry.record import ModelVersion
from shipway.report import Report, bytes_text, percent

_SHOWN_LABELS = 200
_PERCENT = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "ece",
    "coverage",
    "covered_accuracy",
    "unknown_label_rate",
    "accuracy_all_rows",
)


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
    shown = ", ".join(labels[:_SHOWN_LABELS]) + (" ..." if len(labels) > _SHOWN_LABELS else "")
    return Section(
        "Intended use",
        [
            f"Takes a text and answers with one of {len(labels)} labels and their probabilities, for inputs like the "
            "rows that it was trained on. An answer less sure than the out-of-scope threshold means none of them.",
            f"Labels: {shown}.",
        ],
    )


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
        [],
        ["metric", "value", "interval"],
        [[name, _metric(name, evaluation.metrics[name]), _interval(evaluation, name)] for name in _ordered(evaluation)],
    )
    names = {"majority": "most frequent label", "linear_svm": "linear SVM over TF-IDF n-grams"}
    yield Section(
        "Baselines",
        [f"The model loses to the {names.get(b.name, b.name)}." for b in evaluation.baselines if b.model_loses],
        ["baseline", "accuracy", "macro F1", "fitted on rows"],
        [
            [
                names.get(b.name, b.name),
                percent(b.accuracy),
                percent(b.macro_f1),
                f"{b.trained_rows:,}" + (" (a sample)" if b.sampled else ""),
            ]
            for b in evaluation.baselines
        ],
    )
    if evaluation.slices:
        yield Section(
            "Slices",
            [],
            ["column", "value", "rows", "accuracy", "macro F1"],
            [[s.column, s.value, s.rows, percent(s.accuracy), percent(s.macro_f1)] for s in evaluation.slices],
        )
    if evaluation.worst_confusions:
        yield Section(
            "Worst confusions",
            [],
            ["is", "was taken for", "rows", "for example"],
            [
                [c.label, c.predicted, c.count, str(c.examples[0]["text"])[:160] if c.examples else ""]
                for c in evaluation.worst_confusions[:10]
            ],
        )


def _limits(version: ModelVersion) -> Section:
    evaluation = version.evaluation
    text = ["Texts in other languages, domains or registers than its rows are outside of what was measured."]
    if evaluation is not None:
        weak = sorted((c for c in evaluation.per_class if c.support), key=lambda c: (c.recall, c.label))[:5]
        weak = [c for c in weak if c.recall < 1]
        if weak:
            named = ", ".join(f"{c.label} ({percent(c.recall)} of {c.support})" for c in weak)
            text.append(f"Least recall: {named}.")
        if evaluation.unknown_labels:
            text.append(
                f"{evaluation.unknown_label_rows} test rows had labels it does not know: "
                f"{', '.join(evaluation.unknown_labels)}."
            )
        if evaluation.left_out:
            text.append(f"{evaluation.about_left_out}.")
        if evaluation.threshold is not None:
            found = evaluation.threshold
            text.append(
                f"Out-of-scope threshold {found.value:.3f}, calibrated without out-of-scope examples: it keeps "
                f"{percent(found.coverage)} of the test rows, of which {percent(found.accuracy)} are answered rightly."
            )
    return Section("Limits", text)


def _provenance(version: ModelVersion) -> Iterator[Section]:
    model = version.model
    parity = model.onnx_parity
    yield Section(
        "How it was made",
        [],
        ["what", "value"],
        [
            ["registered", version.created_at],
            ["run", version.run or "none"],
            ["digest", version.digest],
            ["training job", f"{model.job} ({model.strategy}, {model.workers} workers, {model.steps:,} steps)"],
            ["recipe", model.recipe],
            ["seed", model.seed],
            ["weights", f"{model.parameter_count:,}"],
            ["files", f"{len(model.files)}, {bytes_text(sum(file.size_bytes for file in model.files))}"],
            ["served as", model.serving_format + (f", parity {parity.max_abs_diff:.1e}" if parity else "")],
            ["git commit", model.git_commit or "none"],
            ["image", model.image or "none"],
            ["shipway", version.shipway_version],
        ],
    )
    if model.params:
        yield Section("Parameters", [], ["parameter", "value"], [[k, str(v)] for k, v in sorted(model.params.items())])
    if model.versions:
        yield Section("Versions", [], ["library", "version"], [[k, v] for k, v in sorted(model.versions.items())])


def _ordered(evaluation: EvaluationRecord) -> list[str]:
    """The metrics that people ask for first come first; JSON keeps them by name."""
    first = [name for name in ("accuracy", "macro_f1", "weighted_f1") if name in evaluation.metrics]
    return first + [name for name in evaluation.metrics if name not in first]


def _metric(name: str, value: float) -> str:
    return percent(value) if name in _PERCENT else f"{value:.4f}"


def _interval(evaluation: EvaluationRecord, name: str) -> str:
    found = evaluation.intervals.get(name)
    return f"{_metric(name, found.low)} to {_metric(name, found.high)} ({found.level:.0%})" if found else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
