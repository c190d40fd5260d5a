"""What people of Kubeflow Pipelines expect of a compiled pipeline, read from the IR of every shipped one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway.compiling import compile_pipeline
from shipway.dag import tasks_of
from shipway.parameters import inputs_of
from shipway.planning import find_all

SECRET = re.compile(r"token|passw|secret|credential|api_?key|access_?key|private", re.IGNORECASE)
IR_BYTES = 256 * 1024  # kfp's compiler and the API server refuse larger ones in places
HTML = {"dataset", "search", "model", "release", "notify"}
METRICS = {"job", "model"}


@pytest.fixture(scope="module", params=[each.name for each in find_all()])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    path = compile_pipeline(request.param, tmp_path_factory.mktemp("ir") / f"{request.param}.yaml")
    text = Path(path).read_text(encoding="utf-8")
    return next(iter(yaml.safe_load_all(text))), text


def components(ir: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Components that run a container, by the name of their function."""
    return {name.removeprefix("comp-"): one for name, one in ir["components"].items() if "executorLabel" in one}


def task_specs(ir: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for dag in [ir["root"]["dag"], *(one["dag"] for one in ir["components"].values() if "dag" in one)]:
        found |= dag["tasks"]
    return found


def test_a_pipeline_has_at_most_ten_steps(compiled: tuple[dict[str, Any], str]) -> None:
    assert 1 <= len(tasks_of(compiled[0])) <= 10


def test_a_retry_waits_and_has_an_end(compiled: tuple[dict[str, Any], str]) -> None:
    for name, task in task_specs(compiled[0]).items():
        retry = task.get("retryPolicy")
        if retry and retry.get("maxRetryCount"):
            assert 1 <= retry["maxRetryCount"] <= 3, name
            assert int(retry["backoffDuration"].removesuffix("s")) >= 5, f"{name} would be tried again at once"


def test_only_steps_that_find_again_what_they_started_are_retried(compiled: tuple[dict[str, Any], str]) -> None:
    """The check of the configuration would only say the same again, and the exit handler has no other attempt."""
    retried = {
        name for name, task in task_specs(compiled[0]).items() if task.get("retryPolicy", {}).get("maxRetryCount")
    }
    assert not retried & {"notify", "plan"}
    assert {"job", "search", "dataset"} & set(components(compiled[0])) <= retried


def test_every_step_ends_by_itself_where_its_image_is_missing(compiled: tuple[dict[str, Any], str]) -> None:
    ir, text = compiled
    platform = list(yaml.safe_load_all(text))[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label in ir["deploymentSpec"]["executors"]:
        assert 0 < int(platform[label]["activeDeadlineSeconds"]) <= 7 * 24 * 3600, label


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("system.HTML", HTML), ("system.Metrics", METRICS), ("system.ClassificationMetrics", {"model"})],
)
def test_the_ui_finds_reports_and_metrics_of_the_steps_that_have_some(
    compiled: tuple[dict[str, Any], str], kind: str, wanted: set[str]
) -> None:
    shown = {
        name
        for name, one in components(compiled[0]).items()
        for artifact in one.get("outputDefinitions", {}).get("artifacts", {}).values()
        if artifact["artifactType"]["schemaTitle"] == kind
    }
    assert wanted & set(components(compiled[0])) <= shown


def test_the_ui_finds_tensorboard(compiled: tuple[dict[str, Any], str]) -> None:
    found = components(compiled[0])
    if "job" in found:
        assert "mlpipeline_ui_metadata" in found["job"]["outputDefinitions"]["artifacts"]


def test_no_secret_travels_as_a_parameter(compiled: tuple[dict[str, Any], str]) -> None:
    """Parameters stand readable in Kubeflow's database and UI: credentials come from Secrets, by environment."""
    ir = compiled[0]
    names = set(inputs_of(ir))
    for one in components(ir).values():
        names |= set(one.get("inputDefinitions", {}).get("parameters", {}))
    assert [name for name in names if SECRET.search(name)] == []
    for label, executor in ir["deploymentSpec"]["executors"].items():
        assert [one["name"] for one in executor["container"].get("env", [])] == ["SHIPWAY_TASK_TITLE"], (
            f"{label} carries values; a Secret is referenced by the platform"
        )
    assert not re.search(r"(AKIA[0-9A-Z]{16}|-----BEGIN|://[^/\s'\"]+:[^/\s'\"]+@)", compiled[1])


def test_the_task_that_launches_jobs_hands_its_resources_on(compiled: tuple[dict[str, Any], str]) -> None:
    wanted = {"RESOURCES", "KUBERNETES_NODE_SELECTOR", "KUBERNETES_TOLERATIONS", "KUBERNETES_AFFINITY"}
    for name in {"job", "search"} & set(components(compiled[0])):
        one = components(compiled[0])[name]
        passed = one["taskConfigPassthroughs"]
        assert {entry["field"] for entry in passed} == wanted
        assert not any(entry.get("applyToTask") for entry in passed), "the launching pod would ask for GPUs too"
        assert one["inputDefinitions"]["parameters"]["task_config"]["parameterType"] == "TASK_CONFIG"


def test_a_compiled_pipeline_is_small_enough_to_submit(compiled: tuple[dict[str, Any], str]) -> None:
    assert len(compiled[1].encode()) < IR_BYTES
    assert len(json.dumps(compiled[0])) < IR_BYTES
