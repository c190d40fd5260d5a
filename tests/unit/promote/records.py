from __future__ import annotations

from typing import Any

from shipway.artifacts import ClassMetrics, EvaluationRecord, FileRef, Interval


def evaluation(metrics: dict[str, float] | None = None, **fields: Any) -> EvaluationRecord:
    """Of a model that knows a and b; `rare` has four test rows."""
    file = FileRef(path="predictions.parquet", size_bytes=1, sha256="0" * 64)
    return EvaluationRecord(
        name="toy",
        uri="file:///nowhere",
        split="test",
        rows=44,
        groups=44,
        metrics={"accuracy": 0.825, "macro_f1": 0.82, "weighted_f1": 0.82, **(metrics or {})},
        intervals={"accuracy": Interval(low=0.7, high=0.95)},
        per_class=[
            ClassMetrics(label="a", precision=0.78, recall=0.9, f1=0.84, support=20),
            ClassMetrics(label="b", precision=0.88, recall=0.75, f1=0.81, support=20),
            ClassMetrics(label="rare", precision=0.0, recall=0.0, f1=0.0, support=4),
        ],
        labels=["a", "b"],
        confusion=file,
        predictions=file,
        model_uri="file:///nowhere",
        model_digest="challenger",
        dataset_uri="file:///nowhere",
        dataset_fingerprint="rows",
        **fields,
    )
