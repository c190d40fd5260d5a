"""What the evaluation's pod does: fetch, score, measure, write."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.specs import parse
from shipway.steps import leave_file, step, write_metrics

# KFP keeps the matrix as metadata of one artifact, and its UI draws every cell.
KFP_MATRIX_CLASSES = 60


def evaluate(
    model: Any, dataset: Any, evaluation: Any, confusion: Any, metrics: Any, report: Any, spec: str
) -> EvaluationRecord:
    """Scores a model on one split.

    Args:
        model: KFP artifact, a `ModelManifest` at its path.
        dataset: KFP artifact, a `DatasetManifest`.
        evaluation, confusion, metrics, report: KFP outputs.
        spec: `EvaluationSpec` as JSON or YAML.
    """
    with step("evaluate") as current:
        from shipway.code import use
        from shipway.components.evaluate.html import evaluation_report
        from shipway.components.evaluate.measure import measure
        from shipway.components.evaluate.spec import EvaluationSpec
        from shipway.scoring import confirm
        from shipway.storage import Store
        from shipway.tasks.stored import reader, task_of_model

        wanted = parse(EvaluationSpec, spec, "evaluation")
        use(wanted.code, "evaluation.code")
        manifest, data = ModelManifest.read(model.path), DatasetManifest.read(dataset.path)
        confirm(manifest)
        task = task_of_model(manifest, wanted.recipes)
        store = Store.open(current.context.store_uri)
        with tempfile.TemporaryDirectory(prefix="shipway-evaluate-") as folder:
            record = measure(manifest, data, wanted, store=store, folder=Path(folder))
        page = evaluation_report(record, task, reader(record))
        page.write(report.path)
        key = f"{record.uri.removeprefix(f'{store.uri}/')}/report.html"
        store.put(key, page.render().encode())
        current.report("Evaluation", f"{store.uri}/{key}")
        current.output(**_facts(record))
        write_metrics(metrics, record.metrics)
        _write_matrix(confusion, task.evaluation.matrix(record, reader(record)))
        record.write(evaluation.path)
        return record


def _facts(record: EvaluationRecord) -> dict[str, object]:
    """What the run's summary shows."""
    return {
        "uri": record.uri,
        "split": record.split,
        "rows": record.rows,
        "metrics": record.metrics,
        "shown": [info.model_dump(mode="json") for info in record.shown],
        "intervals": {name: [interval.low, interval.high] for name, interval in record.intervals.items()},
        "baselines": {b.name: b.metrics for b in record.baselines},
        "loses_to": [b.name for b in record.baselines if b.model_loses],
        "left_out": record.left_out,
        "facts": record.facts,
    }


def _write_matrix(output: Any, matrix: tuple[list[str], list[list[int]]] | None) -> None:
    """Kubeflow's own view of classes and counts; without a matrix its file is there and says so."""
    names, counts = _small_matrix(*matrix) if matrix else ([], [])
    if names:
        output.log_confusion_matrix(names, counts)
    leave_file(output.path, json.dumps({"labels": names, "counts": counts}))


def _small_matrix(labels: list[str], counts: list[list[int]]) -> tuple[list[str], list[list[int]]]:
    """All classes, or those with the most errors and one row and column for the rest."""
    if len(labels) <= KFP_MATRIX_CLASSES:
        return labels, counts
    everyone = range(len(labels))
    errors = [sum(counts[i]) + sum(counts[j][i] for j in everyone) - 2 * counts[i][i] for i in everyone]
    worst = sorted(sorted(everyone, key=lambda i: -errors[i])[: KFP_MATRIX_CLASSES - 1])
    rest = [i for i in everyone if i not in set(worst)]
    parts = [*([i] for i in worst), rest]
    return [*(labels[i] for i in worst), f"({len(rest)} others)"], [
        [sum(counts[i][j] for i in rows for j in columns) for columns in parts] for rows in parts
    ]
