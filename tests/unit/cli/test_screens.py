"""What people see at the end of a run, and side by side."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from shipway.cli.console import console
from shipway.cli.runs import compare_summaries
from shipway.cli.screens import closing_screen, curl_line, reachable


@pytest.fixture(autouse=True)
def fresh_console() -> Iterator[None]:
    """Rich keeps the stream it was made with; pytest gives each test another."""
    console.cache_clear()
    yield
    console.cache_clear()


def shown(capsys: pytest.CaptureFixture[str], summary: dict[str, Any]) -> tuple[str, str]:
    closing_screen(summary)
    found = capsys.readouterr()
    return found.out, found.err


def test_the_closing_screen_says_what_was_found_and_what_to_type(
    capsys: pytest.CaptureFixture[str], summary: dict[str, Any]
) -> None:
    out, _ = shown(capsys, summary)
    for words in ("93.0 %", "linear svm", "92.0 %", "majority", "91.0 % to 95.0 %", "learning_rate = 0.002",
                  "blessed: no champion yet", "bot version 3", "curl -s", "shipway predict bot", "shipway down",
                  "2 trials, 1 failed", "[red]hi[/red]", "Worst confusions", "macro F1",
                  '"none of these" below probability 0.40', "'what is the weather'"):  # fmt: skip
        assert words in out, words
    assert "\x1b[" not in out


def test_without_a_search_no_parameter_has_won(capsys: pytest.CaptureFixture[str], summary: dict[str, Any]) -> None:
    searched, _ = shown(capsys, summary)
    assert "Parameters that won" in searched
    none = {**summary["sweep"], "trials": 0, "failed": 0, "best_value": None}
    out, _ = shown(capsys, {**summary, "sweep": none})
    assert ("Parameters that won" in out, "there was no search" in out, "0 trials" in out) == (False, True, False)


@pytest.mark.parametrize(
    ("said", "is_told"),
    [
        ("https://h/*** answered 204", False),
        ("https://h/*** answered 500", True),
        ("https://h/*** was not reached: URLError", True),
    ],
)
def test_a_webhook_that_was_not_told_is_said_at_the_end(
    capsys: pytest.CaptureFixture[str], summary: dict[str, Any], said: str, is_told: bool
) -> None:
    last = {**summary["steps"][-1], "outputs": {"webhook": said}}
    out, _ = shown(capsys, {**summary, "steps": [*summary["steps"], last]})
    assert (f"The webhook was not told: {said}" in " ".join(out.split())) is is_told


def test_a_model_that_loses_to_a_baseline_is_said_to_lose(
    capsys: pytest.CaptureFixture[str], losing: dict[str, Any]
) -> None:
    out, _ = shown(capsys, losing)
    assert "the model loses to it" in out


def test_a_rejected_model_is_a_result_that_says_what_it_means(
    capsys: pytest.CaptureFixture[str], summary: dict[str, Any]
) -> None:
    rule = {"rule": "accuracy at least 0.99", "applies": True, "passed": False, "detail": "0.93"}
    decision = {"decision": "rejected", "reason": "1 of 2 rules fail", "rules": [rule], "champion_version": 2}
    out, err = shown(capsys, {**summary, "decision": decision, "model": None, "endpoint": None})
    assert "rejected: 1 of 2 rules fail" in out
    assert "what was served before is served still" in out
    assert "shipway reports open run-1 Decision" in out
    assert "curl" not in out
    assert err == ""


def test_a_failed_run_says_where_and_what_to_look_at(
    capsys: pytest.CaptureFixture[str], failed: dict[str, Any]
) -> None:
    out, err = shown(capsys, failed)
    assert err == "error: dataset: column 'txt' is missing; expected one of text, label\n"
    assert "shipway logs run-1 dataset" in out
    assert "curl" not in out


def test_a_stopped_run_says_how_to_go_on(capsys: pytest.CaptureFixture[str], summary: dict[str, Any]) -> None:
    out, err = shown(capsys, {**summary, "state": "Cancelled"})
    assert "the same command again to go on" in out
    assert err == ""


def test_the_curl_line_survives_a_shell() -> None:
    words = shlex.split(curl_line({"predict_url": "http://h/v1/models/b:predict"}, """it's "on" $HOME"""))
    assert words[2] == "http://h/v1/models/b:predict"
    assert json.loads(words[-1]) == {"instances": ["""it's "on" $HOME"""]}


def test_runs_are_compared_by_what_differs(summary: dict[str, Any], losing: dict[str, Any]) -> None:
    other = {**losing, "run": "run-2", "best_parameters": {"learning_rate": 0.004, "dropout": 0.4}}
    found = compare_summaries([summary, other])
    assert found["tables"]["parameter"] == {"learning_rate": [0.002, 0.004]}
    assert found["tables"]["metric"]["accuracy"] == [0.93, 0.9]
    assert found["tables"]["step (s)"]["dataset"] == ["cached", "cached"]


def test_an_endpoint_of_a_cluster_is_reached_by_a_forwarded_port(capsys: pytest.CaptureFixture[str]) -> None:
    inside = "http://bot-predictor.ada.svc"
    endpoint = {"name": "bot", "url": inside, "predict_url": f"{inside}/v1/models/bot:predict"}
    found = reachable(endpoint)
    assert found["predict_url"] == "http://localhost:8080/v1/models/bot:predict"
    assert "kubectl -n ada port-forward svc/bot-predictor 8080:80 &" in capsys.readouterr().out
    here = {**endpoint, "url": "http://127.0.0.1:8081"}
    assert reachable(here) == here
