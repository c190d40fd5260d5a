"""A finished run of train_and_deploy as records, for what only draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shipway.artifacts import DecisionRecord, EvaluationRecord, RunRecord, StepRecord, SweepRecord, TrialRecord
from shipway.summary import build_summary

SHA = "0" * 64


def evaluation(accuracy: float = 0.93) -> EvaluationRecord:
    return EvaluationRecord.model_validate(
        {
            "name": "bot", "uri": "s3://shipway/evaluations/e1", "task": "classification",
            "split": "test", "rows": 1203, "groups": 300,
            "metrics": {"accuracy": accuracy, "macro_f1": 0.91, "ece": 0.02},
            "intervals": {"accuracy": {"low": 0.91, "high": 0.95}}, "labels": ["a", "b"],
            "shown": [
                {"name": "accuracy", "title": "Accuracy"}, {"name": "macro_f1", "title": "Macro F1"},
                {"name": "ece", "title": "Calibration error", "lower_is_better": True},
            ],
            "headline": ['Answers "none of these" below probability 0.40.'],
            "facts": {
                "classes": 2, "unknown_labels": {},
                "worst_confusions": [{"label": "a", "predicted": "b", "count": 7, "such_as": "[red]hi[/red]"}],
            },
            "example": "what is the weather",
            "baselines": [
                {"name": "majority", "title": "most frequent label",
                 "metrics": {"accuracy": 0.05, "macro_f1": 0.01}, "trained_rows": 9},
                {"name": "linear_svm", "title": "linear SVM", "metrics": {"accuracy": 0.92, "macro_f1": 0.9},
                 "trained_rows": 9, "model_loses": accuracy < 0.92},
            ],
            "predictions": {"path": "predictions.parquet", "size_bytes": 1, "sha256": SHA},
            "model_uri": "s3://shipway/jobs/j/model", "model_digest": "d", "variant": "onnx", "variant_digest": "v",
            "dataset_uri": "s3://shipway/datasets/x", "dataset_fingerprint": "x",
        }
    )  # fmt: skip


def decision() -> DecisionRecord:
    return DecisionRecord.model_validate(
        {"name": "bot", "decision": "blessed", "reason": "no champion yet, all thresholds hold", "rules": [],
         "challenger_digest": "d", "challenger_variant": "v"}
    )  # fmt: skip


def sweep() -> SweepRecord:
    trials = [TrialRecord(number=0, state="Succeeded", params={}), TrialRecord(number=1, state="Failed", params={})]
    return SweepRecord(
        name="bot", objective="val_accuracy", direction="maximize", algorithm="tpe", best_trial=0, best_value=0.94,
        best_params={"learning_rate": 0.002, "dropout": 0.4}, trials=trials,
    )  # fmt: skip


def finished(**changes: Any) -> RunRecord:
    def step(role: str, task: str = "", **more: Any) -> StepRecord:
        return StepRecord(run="run-1", role=role, task=task or role, **{"state": "Succeeded", "seconds": 2.5, **more})

    record = RunRecord(
        run="run-1", pipeline="train_and_deploy", name="bot", state="Succeeded", seconds=61.0,
        started_at="2026-01-01T00:00:00+00:00",
        params={"name": "bot", "data": "rows.csv", "webhook": "https://user:pw@hooks.example.com/T0/B0/secret?t=1"},
        steps=[
            step("plan", "train-and-deploy"), step("dataset", state="Cached", outputs={"rows": 5000, "labels": 2}),
            step("sweep", "search", outputs={"uri": "s3://shipway/sweeps/s"}), step("train", "job"),
            step("evaluate", "model", outputs={"uri": "s3://shipway/evaluations/e1"},
                 reports={"Evaluation": "s3://shipway/evaluations/e1/report.html"}),
            step("gate", "release.gate", outputs={"uri": "s3://shipway/decisions/d", "decision": "blessed"}),
            step("register", "release.register", outputs={"name": "bot", "version": 3}),
            step("deploy", "release.deploy",
                 outputs={"url": "http://127.0.0.1:8081/v1/models/bot:predict", "endpoint": "bot"}),
        ],
    )  # fmt: skip
    return record.model_copy(update=changes)


def reader(accuracy: float = 0.93) -> Callable[[Any, str], Any]:
    """In place of object storage: the artifacts by class."""
    found = {EvaluationRecord: evaluation(accuracy), DecisionRecord: decision(), SweepRecord: sweep()}
    return lambda kind, uri: found[kind]


@pytest.fixture
def run_record() -> RunRecord:
    return finished()


@pytest.fixture
def summary() -> dict[str, Any]:
    return build_summary(finished(), home="/home/me/.shipway", read=reader())


@pytest.fixture
def losing() -> dict[str, Any]:
    """A model that loses to the linear SVM."""
    return build_summary(finished(), home="/home/me/.shipway", read=reader(0.9))


@pytest.fixture
def failed() -> dict[str, Any]:
    error = {"kind": "InvalidData", "message": "dataset: column 'txt' is missing; expected one of text, label"}
    steps = [
        StepRecord(run="run-1", task="train-and-deploy", state="Succeeded"),
        StepRecord.model_validate({"run": "run-1", "task": "dataset", "state": "Failed", "error": error}),
    ]
    record = finished().model_copy(update={"state": "Failed", "steps": steps})
    return build_summary(RunRecord.model_validate({**record.model_dump(), "error": error}), home="/h", read=reader())
