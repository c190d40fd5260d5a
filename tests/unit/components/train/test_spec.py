from __future__ import annotations

import json
from typing import get_args

import pytest
import yaml

from shipway.canonical import fingerprint
from shipway.components.train.core import document
from shipway.components.train.launch import with_best
from shipway.components.train.spec import FunctionSpec, Group, Resources, TrainingSpec
from shipway.errors import InvalidSpec
from shipway.specs import parse
from tests.fixtures import other_tasks

URI = "s3://shipway/datasets/a"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"strategy": "parameter_servers"},
            "training.strategy: expected one of single, mirrored, multi_worker, parameter_server, horovod",
        ),
        ({"strategy": "parameter_server", "workers": 1}, "needs at least 2; raise workers"),
        ({"strategy": "multi_worker", "workers": 2, "parameter_servers": 2}, "only parameter_server has some"),
        (
            {"strategy": "parameter_server", "workers": 2, "parameter_servers": 0},
            "training.parameter_servers: expected at least 1",
        ),
        (
            {"strategy": "single", "resources": {"worker": {"gpu": 1}}},
            "resources.worker with strategy 'single': its job has chief; leave",
        ),
        ({"strategy": "multi_worker", "workers": 2, "resources": {"ps": {"cpu": "2"}}}, "its job has chief and worker"),
        ({"strategy": "horovod", "workers": 2, "resources": {"chief": {}}}, "its job has launcher and worker"),
        ({"strategy": "parameter_server", "workers": 2, "resources": {"ps": {"gpu": 1}}}, "resources.ps.gpu"),
        ({"resources": {"cheif": {"gpu": 1}}}, "training.resources.cheif: unknown field"),
        ({"resources": {"chief": {"memory": "4 GB"}}}, "training.resources.chief.memory"),
        ({"strategy": "single", "workers": 3}, "it runs in one replica; set workers to 1"),
        ({"strategy": "horovod", "workers": 1}, "needs at least 2; raise workers"),
        ({"strategy": "multi_worker", "workers": 2, "gradient_compression": "fp16"}, "only horovod"),
        ({"strategy": "horovod", "workers": 2, "mixed_precision": True}, "use gradient_compression: fp16"),
        ({"strategy": "mirrored", "resources": {"gpu": 1}}, "raise resources.gpu"),
        ({"epoch": 3}, "did you mean 'epochs'?"),
        ({"resources": {"memory": "4 GB"}}, "training.resources.memory"),
        ({"early_stopping": {"metrics": "f1"}}, "training.early_stopping.metrics: unknown field"),
        ({"batch_size": 0}, "training.batch_size: expected at least 1, got 0"),
    ],
)
def test_what_a_strategy_cannot_honour_is_refused_in_one_line(given: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse(TrainingSpec, given, "training")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_has_no_graph_that_parameter_servers_could_share_out() -> None:
    asked = {"function": "a:b", "strategy": "parameter_server", "workers": 2}
    with pytest.raises(InvalidSpec, match="set strategy to multi_worker or horovod"):
        parse(FunctionSpec, asked, "training")


def test_what_a_group_leaves_out_is_as_for_all() -> None:
    resources = parse(Resources, {"cpu": "4", "gpu": 1, "ps": {"memory": "32Gi"}, "worker": {"gpu": 2, "cpu": "8"}})
    asked = {group: (one.cpu, one.memory, one.gpu) for group in get_args(Group) if (one := resources.of(group))}
    assert asked == {
        "chief": ("4", "4Gi", 1), "worker": ("8", "4Gi", 2), "ps": ("4", "32Gi", 0), "launcher": ("500m", "512Mi", 0),
    }  # fmt: skip


def test_a_recipes_parameter_is_checked_by_the_recipe() -> None:
    with pytest.raises(InvalidSpec, match=r"training\.params\.dropot: unknown field.*did you mean 'dropout'"):
        parse(TrainingSpec, {"params": {"dropot": 0.1}}, "training").recipe_params()


@pytest.mark.parametrize(
    ("recipe", "allowed"),
    [("intents", "auto, val_accuracy, val_loss"), (other_tasks.NUMBER, "auto, val_rmse, val_mae, val_loss")],
)
def test_early_stopping_by_a_metric_that_no_training_reports_is_refused(recipe: str, allowed: str) -> None:
    spec = parse(TrainingSpec, {"recipe": recipe, "early_stopping": {"metric": "val_f1"}}, "training")
    with pytest.raises(InvalidSpec, match=rf"training\.early_stopping\.metric: .*'val_f1'; expected one of {allowed}"):
        document(spec, URI, None)


def test_one_document_by_three_ways_is_one_training() -> None:
    python = TrainingSpec(params={"dim": 64}, epochs=8, batch_size=32)
    by_yaml = parse(TrainingSpec, yaml.safe_dump({"params": {"dim": 64}, "epochs": 8, "batch_size": 32}), "training")
    from_ui = parse(TrainingSpec, {"params": {"dim": 64.0}, "epochs": 8.0, "batch_size": 32.0}, "training")
    hashes = {fingerprint(document(spec, URI, None)) for spec in (python, by_yaml, from_ui)}
    assert len(hashes) == 1


def test_what_a_sweep_found_wins_over_the_spec() -> None:
    spec = TrainingSpec(params={"dim": 64, "dropout": 0.1})
    best = with_best(spec, json.dumps({"dropout": 0.4, "hidden": 128.0}))
    assert {key: best.params[key] for key in ("dim", "dropout", "hidden")} == {"dim": 64, "dropout": 0.4, "hidden": 128}
    assert with_best(spec, "") is spec


@pytest.mark.parametrize(("best", "says"), [("{", "not JSON"), ("[1]", "expected an object"), ('{"x": 1}', "unknown")])
def test_a_best_that_is_none_is_refused(best: str, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        with_best(TrainingSpec(), best)
