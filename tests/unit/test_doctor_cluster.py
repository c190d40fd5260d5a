"""How a cluster's objects are judged; the cluster itself is asked in tests/cluster/test_doctor.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from shipway.doctor import kfp, operators


def deployment(replicas: int, available: int) -> dict[str, Any]:
    template = {"spec": {"containers": [{"image": "operator:1"}]}}
    return {
        "metadata": {"namespace": "kubeflow"},
        "spec": {"replicas": replicas, "template": template},
        "status": {"availableReplicas": available},
    }


@pytest.mark.parametrize(("found", "state", "mend"), [
    ([deployment(1, 1)], "ok", ""),
    ([deployment(0, 0)], "missing", "kubectl -n kubeflow scale deployment/training-operator --replicas=1"),
    ([deployment(1, 0)], "missing", "kubectl -n kubeflow describe deployment/training-operator"),
    ([], "warn", "kubectl get deployments -A | grep training-operator"),
])  # fmt: skip
def test_an_operator_that_does_not_run_is_told_with_the_command_to_look(
    found: list[dict[str, Any]], state: str, mend: str
) -> None:
    finding = operators._running("training-operator", "tfjobs", found)
    assert finding.state == state
    assert finding.mend.startswith(mend)


RETRIES = {"retryStrategy": {"retryPolicy": "OnError"}}


@pytest.mark.parametrize(("data", "patch"), [
    ({"templateDefaults": yaml.safe_dump(RETRIES)}, {"templateDefaults": None}),
    ({"workflowDefaults": yaml.safe_dump({"spec": {"templateDefaults": RETRIES}})}, {"workflowDefaults": None}),
    (
        {"workflowDefaults": yaml.safe_dump({"spec": {"templateDefaults": RETRIES, "parallelism": 9}})},
        {"workflowDefaults": "spec:\n  parallelism: 9\n"},
    ),
])  # fmt: skip
def test_the_patch_takes_away_template_defaults_and_nothing_else(
    data: dict[str, str], patch: dict[str, str | None]
) -> None:
    finding = kfp._defaults("kubeflow", data)
    assert finding.state == "warn"
    assert json.loads(finding.mend.partition(" -p ")[2].strip("'")) == {"data": patch}


@pytest.mark.parametrize("data", [{}, {"workflowDefaults": "spec:\n  parallelism: 9\n"}, {"workflowDefaults": ""}])
def test_a_controller_without_template_defaults_is_well(data: dict[str, str]) -> None:
    assert kfp._defaults("kubeflow", data).state == "ok"


@pytest.mark.parametrize("text", ["- a list", "a: b: c", "spec: words"])
def test_settings_that_cannot_be_read_are_said(text: str) -> None:
    assert kfp._defaults("kubeflow", {"workflowDefaults": text}).state == "warn"
