"""What a run came to, as one document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shipway.artifacts import RunRecord
from shipway.errors import NotFound
from shipway.redaction import host_of, parameters
from shipway.summary import build_summary, exit_code


def test_the_document_says_what_run_json_promises(summary: dict[str, Any]) -> None:
    assert summary["run"] == "run-1"
    assert summary["state"] == "Succeeded"
    assert summary["steps"][1]["cached"] is True
    assert summary["steps"][3]["seconds"] == 2.5
    assert summary["best_parameters"] == {"learning_rate": 0.002, "dropout": 0.4}
    assert summary["evaluation"]["metrics"]["accuracy"] == 0.93
    assert list(summary["evaluation"]["metrics"]) == ["accuracy", "macro_f1", "ece"]
    assert summary["evaluation"]["facts"]["worst_confusions"][0]["count"] == 7
    assert summary["evaluation"]["baselines"]["linear_svm"]["metrics"]["accuracy"] == 0.92
    assert summary["decision"]["decision"] == "blessed"
    assert summary["model"] == {"name": "bot", "version": 3}
    assert summary["endpoint"]["predict_url"] == "http://127.0.0.1:8081/v1/models/bot:predict"
    assert summary["endpoint"]["url"] == "http://127.0.0.1:8081"


def test_a_secret_is_in_no_summary(summary: dict[str, Any]) -> None:
    text = json.dumps(summary)
    assert "secret" not in text
    assert "user:pw" not in text
    assert summary["parameters"]["webhook"] == "https://hooks.example.com/***"


def test_only_secrets_are_hidden() -> None:
    given = {"name": "b", "api_token": "x", "overrides": {"endpoint": {"password": "y", "port": 1}}, "webhook": ""}
    assert parameters(given) == {
        "name": "b",
        "api_token": "***",
        "overrides": {"endpoint": {"password": "***", "port": 1}},
        "webhook": "",
    }
    assert host_of("http://u:p@h:8080/a?b") == "http://h/***"


def test_an_artifact_that_is_gone_is_left_out(run_record: RunRecord) -> None:
    def gone(kind: Any, uri: str) -> Any:
        raise NotFound(uri)

    summary = build_summary(run_record, read=gone)
    assert summary["evaluation"] is None
    assert summary["decision"] == {"decision": "blessed", "reason": ""}


@pytest.mark.parametrize(
    ("state", "kind", "code"),
    [
        ("Succeeded", None, 0),
        ("Failed", "InvalidData", 2),
        ("Failed", "AccessDenied", 2),
        ("Failed", "JobFailed", 1),
        ("Failed", "ZeroDivisionError", 1),
        ("Failed", None, 1),
        ("Cancelled", "Cancelled", 130),
    ],
)
def test_a_runs_exit_code_follows_its_first_error(state: str, kind: str | None, code: int) -> None:
    assert exit_code({"state": state, "error": {"kind": kind} if kind else None}) == code
