"""What a function's source says of it: parameters, defaults, metrics, and what it may be called with."""

from __future__ import annotations

from typing import Any

import pytest

from shipway.errors import InvalidSpec
from shipway.functions.declared import Declared, declared, objective_of, restored


def read(text: str, name: str = "train") -> Declared:
    found = declared(text, name, "cell:1")
    assert found is not None
    return found


TRAIN = "def train(rate: float, layers: int = 2, kind: 'str' = 'cnn', *, epochs=3, context=None):\n    return 1.0\n"


def test_parameters_are_read_with_defaults_and_kinds() -> None:
    found = read(TRAIN)
    assert {name: (each.is_required, each.default, each.kind) for name, each in found.parameters.items()} == {
        "rate": (True, None, "float"), "layers": (False, 2, "int"), "kind": (False, "cnn", "str"),
        "epochs": (False, 3, ""), "context": (False, None, ""),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rat": 1}, r"space: train \(cell:1\) takes no 'rat'; expected one of rate, layers, kind, epochs \(did you"),
        ({"layers": 1}, r"space: train \(cell:1\) needs 'rate', which has no default; give it here, or a default"),
        ({"rate": 1, "context": 2}, "takes no 'context'"),
    ],
)
def test_names_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        read(TRAIN).check_names(given, "space")


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("layers", 2, True), ("layers", 2.5, False), ("layers", True, False), ("rate", 1, True), ("rate", "1", False),
        ("kind", "a", True), ("kind", 1, False), ("epochs", "any", True),
    ],
)  # fmt: skip
def test_a_value_must_be_of_the_annotations_kind(name: str, value: Any, fits: bool) -> None:
    if fits:
        read(TRAIN).check_kind(name, value, "space")
        return
    with pytest.raises(InvalidSpec, match=rf"space: {value!r} is no \w+, which train \(cell:1\) says of '{name}'"):
        read(TRAIN).check_kind(name, value, "space")


@pytest.mark.parametrize(
    ("body", "metrics"),
    [
        ("return {'accuracy': a, 'loss': b}", ("accuracy", "loss")),
        ("return accuracy", ("accuracy",)),
        ("return float(val_loss)", ("val_loss",)),
        ("return 0.93", ()),
        ("shipway.report(step=1, f1=0.5, loss=1)", ("f1", "loss")),
        ("shipway.report(loss=1)\n    return accuracy", ("accuracy",)),
        ("def inner():\n        return other\n    return recall", ("recall",)),
    ],
)
def test_metrics_are_read_from_returns_and_reports(body: str, metrics: tuple[str, ...]) -> None:
    assert read(f"def train(a, b):\n    {body}\n").metrics == metrics


@pytest.mark.parametrize(
    ("body", "given", "expected"),
    [
        ("return accuracy", ("auto", "auto"), ("accuracy", "maximize")),
        ("return val_loss", ("auto", "auto"), ("val_loss", "minimize")),
        ("return 1", ("auto", "auto"), ("score", "maximize")),
        ("return 1", ("auto", "minimize"), ("score", "minimize")),
        ("return {'f1': 1, 'rmse': 2}", ("rmse", "auto"), ("rmse", "minimize")),
    ],
)
def test_an_objective_has_a_name_and_a_direction(body: str, given: tuple[str, str], expected: tuple[str, str]) -> None:
    assert objective_of(read(f"def train(a):\n    {body}\n"), *given) == expected


def test_of_several_metrics_one_must_be_named() -> None:
    function = read("def train(a):\n    return {'loss': 1, 'f1': 2}\n")
    with pytest.raises(InvalidSpec, match=r"gives loss, f1; say which counts: objective='minimize loss'"):
        objective_of(function, "auto", "auto")


def test_a_parameter_that_only_a_position_gives_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"cell:1: train: parameter 'x' stands before '/'"):
        read("def train(x, /):\n    return x\n")


def test_whole_numbers_come_back_from_kubeflow_as_they_were() -> None:
    function = read("def train(n, rate: float, decay=1.0, sizes=None):\n    return n\n")
    given = {"n": 3.0, "rate": 1.0, "decay": 2.0, "sizes": [8.0, 2.5]}
    assert repr(restored(given, function)) == repr({"n": 3, "rate": 1.0, "decay": 2.0, "sizes": [8, 2.5]})


def test_a_parameter_that_is_returned_is_a_score_and_no_metric_of_its_name() -> None:
    assert read("def train(x):\n    return x\n").metrics == ("score",)
    assert read("def train(x):\n    return {'x': x}\n").metrics == ("x",)


def test_what_only_a_training_is_given_is_refused_of_a_trial() -> None:
    with pytest.raises(
        InvalidSpec, match=r"train \(cell:1\) needs 'context', which trainings are given .*context=None"
    ):
        read("def train(x, context):\n    return 1.0\n").check_needs_no_context()
    read(TRAIN).check_needs_no_context()
