"""Errors say one line and hold its parts."""

from __future__ import annotations

import pickle

import pytest

from shipway.artifacts.records import StepError
from shipway.errors import Details, InvalidSpec, NotFound, ShipwayError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InvalidSpec("plain"), "plain"),
        (InvalidSpec("is missing", field="a.b"), "a.b: is missing"),
        (
            InvalidSpec("unknown recipe", field="recipe", given="intens", allowed=["intents", "images"], fix="go on"),
            "recipe: unknown recipe 'intens'; expected one of intents, images (did you mean 'intents'?); go on",
        ),
        (InvalidSpec(field="workers", given=0, allowed="at least 1"), "workers: expected at least 1, got 0"),
        (
            InvalidSpec(field="split", given="tst", allowed=("train", "test")),
            "split: expected one of train, test, got 'tst' (did you mean 'test'?)",
        ),
        (InvalidSpec(field="top", given=None, allowed="a number"), "top: expected a number, got None"),
        (
            InvalidSpec("unknown field", field="training.epoch", given="epoch", allowed=["epochs"]),
            "training.epoch: unknown field; expected one of epochs (did you mean 'epochs'?)",
        ),
        (
            InvalidSpec("'a b' is no name", field="name", given="a b", fix="rename it"),
            "name: 'a b' is no name; rename it",
        ),
        (NotFound(field="models/bot"), "models/bot"),
    ],
)
def test_the_line_is_made_of_the_parts(error: ShipwayError, line: str) -> None:
    assert str(error) == line


def test_the_parts_can_be_read() -> None:
    error = InvalidSpec("unknown recipe", field="recipe", given="intens", allowed=["intents"], fix="see docs")
    assert error.details == Details("recipe", "intens", ("intents",), "see docs")
    assert InvalidSpec("plain").details == Details()
    assert InvalidSpec(field="x", given=["a"], allowed="text").details == Details("x", "['a']", "text")
    assert pickle.loads(pickle.dumps(error)).details == error.details
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_secret_that_was_given_is_in_neither() -> None:
    error = InvalidSpec(field="data", given="https://bot:hunter22@host/rows.csv", allowed="s3:// address")
    assert "hunter22" not in str(error)
    assert "hunter22" not in str(error.details.given)


def test_what_was_given_is_shortened() -> None:
    error = InvalidSpec(field="data", given="x" * 10_000, allowed="an address")
    assert len(str(error)) < 300
    assert len(error.details.given or "") < 200


def test_records_hold_the_parts() -> None:
    error = InvalidSpec("unknown recipe", field="recipe", given="intens", allowed=["intents"])
    assert StepError.of(error).model_dump(exclude_defaults=True) == {
        "kind": "InvalidSpec",
        "message": "recipe: unknown recipe 'intens'; expected one of intents (did you mean 'intents'?)",
        "field": "recipe",
        "given": "intens",
        "allowed": ["intents"],
    }
    assert StepError.of(ValueError("a\nb")).model_dump(exclude_defaults=True) == {
        "kind": "ValueError",
        "message": "ValueError: a b",
    }


def test_several_are_one_line_with_the_details_of_the_first() -> None:
    one = InvalidSpec.all_of([InvalidSpec("a is wrong", field="a"), InvalidSpec("b is wrong", field="b")])
    assert str(one) == "a: a is wrong; b: b is wrong"
    assert one.details.field == "a"
