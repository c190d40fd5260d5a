from __future__ import annotations

from shipway.artifacts import EvaluationRecord, FileRef, Interval, MetricInfo, ModelManifest


def evaluation(model: ModelManifest, accuracy: float = 0.9, fingerprint: str = "rows-1") -> EvaluationRecord:
    file = FileRef(path="predictions.parquet", size_bytes=1, sha256="0" * 64)
    return EvaluationRecord(
        name=model.name, uri="file:///nowhere", task=model.task, split="test", rows=20, groups=7,
        metrics={"accuracy": accuracy, "macro_f1": accuracy}, intervals={"accuracy": Interval(low=0.8, high=0.95)},
        labels=model.labels, predictions=file,
        shown=[MetricInfo(name="accuracy", title="Accuracy"), MetricInfo(name="macro_f1", title="Macro F1")],
        model_uri=model.uri, model_digest=model.digest, variant=model.serving, variant_digest=model.served.digest,
        dataset_uri=model.dataset_uri, dataset_fingerprint=fingerprint,
    )  # fmt: skip
