from __future__ import annotations

from typing import Any

from shipway.artifacts import EvaluationRecord, FileRef, Interval, MetricInfo
from shipway.tasks import load_task
from shipway.tasks.classification.details import ClassMetrics, Details

TASK = load_task("classification")


def evaluation(metrics: dict[str, float] | None = None, **fields: Any) -> EvaluationRecord:
    """Of a model that knows a and b; `rare` has four test rows."""
    file = FileRef(path="predictions.parquet", size_bytes=1, sha256="0" * 64)
    details = Details(
        per_class=[
            ClassMetrics(label="a", precision=0.78, recall=0.9, f1=0.84, support=20),
            ClassMetrics(label="b", precision=0.88, recall=0.75, f1=0.81, support=20),
            ClassMetrics(label="rare", precision=0.0, recall=0.0, f1=0.0, support=4),
        ]
    )
    found = {"accuracy": 0.825, "macro_f1": 0.82, "weighted_f1": 0.82, **(metrics or {})}
    return EvaluationRecord(
        name="toy",
        uri="file:///nowhere",
        task="classification",
        split="test",
        rows=44,
        groups=44,
        metrics=found,
        shown=[
            MetricInfo(name=name, title=info.title, is_share=info.is_share, lower_is_better=info.lower_is_better)
            for name, info in TASK.metrics.items()
            if name in found
        ],
        intervals={"accuracy": Interval(low=0.7, high=0.95)},
        details=details.model_dump(mode="json"),
        labels=["a", "b"],
        files={"confusion.json": file},
        predictions=file,
        model_uri="file:///nowhere",
        model_digest="challenger",
        variant="onnx",
        variant_digest="variant",
        dataset_uri="file:///nowhere",
        dataset_fingerprint="rows",
        **fields,
    )
