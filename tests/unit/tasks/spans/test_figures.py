"""Figures of spans against seqeval's, and how mistakes are told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score

from shipway.tasks import load_task
from shipway.tasks.spans import figures
from shipway.tasks.spans.evaluation import marked
from shipway.tasks.spans.figures import BOTH, BOUNDS, INVENTED, MISSED, TYPE, Pair, mistakes
from shipway.tasks.spans.spans import Span, parse, write_spans
from shipway.tasks.spans.tags import places, tag_names

TYPES = ["number", "room", "song"]
NAMES = tag_names(TYPES)
tag = st.lists(st.integers(0, len(NAMES) - 1), min_size=1, max_size=9)


def spans(tags: list[int]) -> list[Span]:
    _, firsts, lasts, types = places(np.array([tags]))
    return [Span(int(a), int(b) + 1, TYPES[int(t)]) for a, b, t in zip(firsts, lasts, types, strict=True)]


@st.composite
def answered(draw: st.DrawFn) -> list[tuple[list[int], list[int]]]:
    pairs = []
    for truth in draw(st.lists(tag, min_size=1, max_size=6)):
        other = draw(st.lists(st.integers(0, len(NAMES) - 1), min_size=len(truth), max_size=len(truth)))
        keeps = draw(st.lists(st.booleans(), min_size=len(truth), max_size=len(truth)))
        pairs.append((truth, [a if kept else b for a, b, kept in zip(truth, other, keeps, strict=True)]))
    return pairs


@given(answered())
@settings(deadline=None, max_examples=150)
def test_figures_of_sums_are_seqevals(pairs: Any) -> None:
    labels, answers = ([write_spans(spans(pair[side])) for pair in pairs] for side in (0, 1))
    found = figures.metrics(np.asarray(figures.statistics(labels, answers, TYPES).sum(axis=0)).reshape(1, -1))
    written = [[[NAMES[number] for number in pair[side]] for pair in pairs] for side in (0, 1)]
    if any(label != "[]" for label in labels + answers):  # seqeval warns of nothing at all
        for name, score in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
            assert found[name][0] == pytest.approx(score(*written, average="micro", zero_division=0))
            macro = score(*written, average="macro", zero_division=0)
            assert found[f"macro_{name}"][0] == pytest.approx(macro), name
    exact = np.mean([label == answer for label, answer in zip(labels, answers, strict=True)])
    assert found["exact_rows"][0] == pytest.approx(exact)
    assert set(found) == set(load_task("spans").metrics)


def test_figures_of_no_rows_are_finite() -> None:
    found = figures.metrics(np.zeros((2, 3 * len(TYPES) + 2)))
    assert all((value == 0).all() and value.shape == (2,) for value in found.values())
    assert figures.statistics([], [], TYPES).shape == (0, 11)
    assert figures.statistics(["[]"], ["[]"], []).toarray().tolist() == [[1, 1]]


@given(tag, tag)
@settings(deadline=None)
def test_each_wrong_span_is_in_one_mistake(truth: list[int], answer: list[int]) -> None:
    true, ours = spans(truth), spans(answer)
    found = list(mistakes(true, ours))
    assert sorted(pair.true for pair in found if pair.true) == sorted(set(true) - set(ours))
    assert sorted(pair.predicted for pair in found if pair.predicted) == sorted(set(ours) - set(true))
    assert all((pair.kind == MISSED) == (pair.predicted is None) for pair in found)
    assert all((pair.kind == INVENTED) == (pair.true is None) for pair in found)


@pytest.mark.parametrize(
    ("true", "answered", "kinds"),
    [
        ('[[0,3,"a"]]', '[[0,3,"a"]]', []),
        ('[[0,3,"a"]]', '[[0,3,"b"]]', [TYPE]),
        ('[[0,3,"a"]]', '[[2,5,"a"]]', [BOUNDS]),
        ('[[0,3,"a"]]', '[[2,5,"b"]]', [BOTH]),
        ('[[0,3,"a"]]', '[[3,5,"a"]]', [MISSED, INVENTED]),
        ('[[0,9,"a"]]', '[[0,2,"a"],[3,9,"a"]]', [BOUNDS, INVENTED]),
        ('[[0,2,"a"],[3,9,"b"]]', '[[0,9,"a"]]', [BOUNDS, MISSED]),
        ('[[0,4,"a"],[4,6,"b"]]', '[[2,6,"b"]]', [BOUNDS, MISSED]),
    ],
)
def test_a_mistake_is_of_one_kind(true: str, answered: str, kinds: list[str]) -> None:
    assert [pair.kind for pair in mistakes(parse(true), parse(answered))] == kinds


def test_the_longer_overlap_is_the_pair() -> None:
    first, *_ = mistakes(parse('[[0,9,"a"]]'), parse('[[0,2,"a"],[3,9,"a"]]'))
    assert first == Pair(BOUNDS, Span(0, 9, "a"), Span(3, 9, "a"))


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        (Pair(TYPE, Span(4, 7, "a"), Span(4, 7, "b")), "one [{two}] three"),
        (Pair(BOUNDS, Span(4, 13, "a"), Span(4, 7, "a")), "one [{two} three]"),
        (Pair(BOUNDS, Span(4, 7, "a"), Span(4, 13, "a")), "one [{two] three}"),
        (Pair(BOUNDS, Span(0, 7, "a"), Span(4, 13, "a")), "[one {two] three}"),
        (Pair(MISSED, Span(4, 7, "a"), None), "one [two] three"),
        (Pair(INVENTED, None, Span(0, 3, "a")), "{one} two three"),
    ],
)
def test_an_example_marks_the_true_span_and_the_answer(pair: Pair, shown: str) -> None:
    assert marked("one two three", pair) == shown


def test_a_long_example_is_cut_around_its_mistake() -> None:
    text = marked("x" * 300 + "two" + "y" * 300, Pair(MISSED, Span(300, 303, "a"), None))
    assert text == f"...{'x' * 40}[two]{'y' * 40}..."
    assert marked("short", Pair(MISSED, Span(700, 703, "a"), None)).startswith("...")  # behind what a preview holds
