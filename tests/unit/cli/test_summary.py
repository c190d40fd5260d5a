"""What a run came to, as one document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shipway.artifacts import RunRecord, StepRecord
from shipway.cli.screens import closing_screen
from shipway.components.notify.core import summary_report
from shipway.errors import NotFound
from shipway.redaction import host_of, parameters
from shipway.summary import build_summary, exit_code
from tests.unit.cli.conftest import evaluation


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
    assert [(step["role"], step["step"]) for step in summary["steps"]][-2:] == [
        ("register", "release.register"), ("deploy", "release.deploy"),
    ]  # fmt: skip
    assert summary["several"] == {}
    assert summary["endpoint"]["predict_url"] == "http://127.0.0.1:8081/v1/models/bot:predict"
    assert summary["endpoint"]["url"] == "http://127.0.0.1:8081"


def searched_twice() -> RunRecord:
    """A loop of searches and evaluations, then one of each outside of it, and a release of two models."""

    def step(role: str, task: str, iteration: str = "", **outputs: Any) -> StepRecord:
        reports = {"Evaluation": f"s3://b/{task}{iteration}.html"} if role == "evaluate" else {}
        return StepRecord(run="r", role=role, task=task, iteration=iteration, title=role.title(), state="Succeeded",
                          outputs=outputs, reports=reports)  # fmt: skip

    steps = [
        step("evaluate", "classifier", uri="s3://b/trunk"),
        *(step("sweep", "search", at, best={"dropout": float(at)}) for at in ("0", "1")),
        *(step("evaluate", "classifier-2", at, uri=f"s3://b/{at}") for at in ("0", "1")),
        step("register", "release.register", name="a", version=1), step("register", "release-2.register", version=2),
        step("", "mine"),
    ]  # fmt: skip
    return RunRecord(run="r", pipeline="p", name="bot", state="Succeeded", steps=steps)


def test_where_several_steps_play_a_role_all_are_told_and_the_last_outside_of_loops_speaks_for_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    accuracy = {"trunk": 0.8, "0": 0.7, "1": 0.9}
    summary = build_summary(searched_twice(), read=lambda kind, uri: evaluation(accuracy[uri.split("/")[3]]))
    assert summary["evaluation"]["metrics"]["accuracy"] == 0.8
    told = summary["several"]["evaluation"]
    assert [(each["step"], each["metrics"]["accuracy"], each["is_shown"]) for each in told] == [
        ("classifier", 0.8, True), ("classifier-2.0", 0.7, False), ("classifier-2.1", 0.9, False),
    ]  # fmt: skip
    assert summary["best_parameters"] == {"dropout": 1.0}, "all of them are in a loop: the last"
    assert [each["best_parameters"] for each in summary["several"]["sweep"]] == [{"dropout": 0.0}, {"dropout": 1.0}]
    assert summary["model"] == {"name": "bot", "version": 2}
    assert [each["name"] for each in summary["several"]["model"]] == ["a", "bot"]
    assert set(summary["reports"]) == {
        "Evaluation (classifier)", "Evaluation (classifier-2.0)", "Evaluation (classifier-2.1)",
    }  # fmt: skip
    closing_screen(summary)
    shown = " ".join(capsys.readouterr().out.split())
    assert "All 3 evaluations; where one speaks for the run, it is that of Evaluate" in shown
    for cell in ("Evaluate, iteration 0", "70.0 %", "dropout = 0", "Register (release-2.register)"):
        assert cell in shown
    page = summary_report(summary).render()
    assert "All 2 models" in page
    assert "Evaluate, iteration 1" in page


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
