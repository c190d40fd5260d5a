"""The linear baseline learns what a dictionary cannot: which of two types a word has, from what stands beside it."""

from __future__ import annotations

import polars as pl

from shipway.inputs import load_input
from shipway.tasks import load_task
from shipway.tasks.spans import figures, perceptron
from tests.fixtures import named

TEXT = load_input("text")
EVALUATION = load_task("spans").evaluation


def rows(*found: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame({"text": [text for text, _ in found], "label": [label for _, label in found]})


def f1(name: str, train: pl.DataFrame, test: pl.DataFrame) -> float:
    baseline = EVALUATION.fit_baseline(name, TEXT, train, seed=0)
    assert baseline is not None
    predicted = baseline.predict([test.head(3), test.slice(3)])["predicted"].to_list()
    sums = figures.statistics(test["label"].to_list(), predicted, ["number", "room", "song"]).sum(axis=0)
    return float(figures.metrics(sums.reshape(1, -1))["f1"][0])


def test_words_beside_decide_the_type() -> None:
    both = [(f"play hall {n}", '[[5,9,"song"]]') for n in "abcd"] + [
        (f"light hall {n}", '[[6,10,"room"]]') for n in "abcd"
    ]
    train, test = rows(*both), rows(("play hall x", '[[5,9,"song"]]'), ("light hall x", '[[6,10,"room"]]'))
    assert f1("perceptron", train, test) == 1.0
    assert f1("dictionary", train, test) == 0.5


def test_the_same_rows_and_seed_give_the_same_answers_and_spans_fit_the_text() -> None:
    train, test = named.rows(150), named.rows(60, 1)
    found = [EVALUATION.fit_baseline("perceptron", TEXT, train, seed=4).predict([test]) for _ in range(2)]  # type: ignore[union-attr]
    assert found[0].equals(found[1])
    assert f1("perceptron", train, test) > 0.95


def test_it_stands_aside_where_there_is_nothing_to_learn_or_too_much() -> None:
    assert EVALUATION.fit_baseline("perceptron", TEXT, rows(("a", "[]")), seed=0) is None
    assert perceptron.fits(["[]"])
    assert not perceptron.fits([f'[[0,1,"type {n}"]]' for n in range(200)])
    assert (
        f1("perceptron", rows(("", "[]"), ("hall", '[[0,4,"room"]]')), rows(("", "[]"), ("hall", '[[0,4,"room"]]')))
        == 1
    )
