from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.errors import InvalidSpec
from shipway.specs import parse
from shipway.tasks import load_task

ANSWERS = load_task("tagging").answers
LABELS = ["Balcony", "Garden", "Sea view"]
SCORES = np.array([[0.25, 0.75, 0.5], [0.1, 0.1, 0.2]], dtype=np.float32)


def answered(top_k: int | str | None = None, threshold: float | str = "calibrated") -> list[dict[str, Any]]:
    asked = ANSWERS.Params(top_k=top_k), ANSWERS.Settings(threshold=threshold)
    return ANSWERS.documents(LABELS, {"scores": SCORES}, *asked)


def names(answer: dict[str, Any]) -> list[str]:
    return [tag["tag"] for tag in answer["tags"]]


def test_tags_from_the_threshold_on_are_named_highest_first() -> None:
    assert answered()[0] == {"tags": [{"tag": "Garden", "score": 0.75}, {"tag": "Sea view", "score": 0.5}]}
    assert answered()[1] == {"tags": []}
    assert names(answered(threshold=0.25)[0]) == ["Garden", "Sea view", "Balcony"]
    assert names(answered(threshold=0.6)[0]) == ["Garden"]


def test_a_request_may_ask_for_so_many_tags_whatever_the_threshold() -> None:
    assert [names(answer) for answer in answered(top_k=2)] == [["Garden", "Sea view"], ["Sea view", "Balcony"]]
    assert [len(answer["tags"]) for answer in answered(top_k="all")] == [3, 3]
    assert [len(answer["tags"]) for answer in answered(top_k=99)] == [3, 3]


def test_tensors_are_padded_behind_the_tags_of_the_longest_row() -> None:
    found = ANSWERS.outputs(LABELS, {"scores": SCORES}, ANSWERS.Params(), ANSWERS.Settings())
    assert found["tags"].tolist() == [["Garden", "Sea view"], ["", ""]]
    assert found["scores"].tolist() == [[0.75, 0.5], [0, 0]]
    assert found["scores"].dtype == np.float32
    none = ANSWERS.outputs(LABELS, {"scores": SCORES}, ANSWERS.Params(), ANSWERS.Settings(threshold=1.0))
    assert none["tags"].tolist() == [[""], [""]]


@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0, 1), st.none() | st.integers(1, 5) | st.just("all"))
def test_both_protocols_give_the_same_tags(n: int, seed: int, threshold: float, top_k: int | str | None) -> None:
    scores = np.random.default_rng(seed).random((n, 3)).astype(np.float32)
    asked: Any = {"scores": scores}, ANSWERS.Params(top_k=top_k), ANSWERS.Settings(threshold=threshold)
    documents, tensors = ANSWERS.documents(LABELS, *asked), ANSWERS.outputs(LABELS, *asked)
    for row, answer, tags, values in zip(scores, documents, tensors["tags"], tensors["scores"], strict=True):
        assert names(answer) == [tag for tag in tags if tag]
        given = [tag["score"] for tag in answer["tags"]]
        assert given == sorted(given, reverse=True) == values.tolist()[: len(given)]
        if top_k is None:
            assert len(given) == (row >= np.float32(threshold)).sum()


@pytest.mark.parametrize("threshold", ["some", 1.5, -0.1, None])
def test_a_threshold_that_is_none_is_refused_in_one_line(threshold: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"endpoint\.answers\.threshold"):
        parse(ANSWERS.Settings, {"threshold": threshold}, "endpoint.answers")


def test_a_line_names_each_tag_with_its_score() -> None:
    assert [ANSWERS.line(answer) for answer in answered()] == [["Garden 0.75, Sea view 0.50"], ["(none)"]]


def differences(served: list[Any], tolerance: float) -> tuple[Any, Any]:
    gaps, same = ANSWERS.differences(LABELS, {"scores": SCORES[: len(served)]}, served, tolerance)
    return gaps.tolist(), same.tolist()


def all_tags(*scores: float) -> dict[str, Any]:
    return {"tags": [{"tag": tag, "score": score} for tag, score in zip(LABELS, scores, strict=True)]}


def test_served_answers_are_compared_tag_by_tag() -> None:
    everything = ANSWERS.documents(LABELS, {"scores": SCORES}, ANSWERS.everything(), ANSWERS.Settings())
    assert differences(everything, 0.0) == ([0.0, 0.0], [True, True])
    assert differences([all_tags(0.25, 0.75, 0.4999)], 0.001) == ([pytest.approx(0.0001)], [True])
    assert differences([all_tags(0.25, 0.75, 0.4)], 0.001) == ([pytest.approx(0.1)], [False])


@pytest.mark.parametrize(
    "served", [{}, {"tags": []}, {"tags": 3}, {"tags": [{"tag": "Pool"}]}, all_tags(0.25, float("nan"), 0.5)]
)
def test_an_answer_that_cannot_be_compared_is_infinitely_far(served: Any) -> None:
    assert differences([served], 1.0)[0] == [float("inf")]


def test_scores_may_be_told_as_log_odds_which_tell_sure_tags_apart() -> None:
    sure = {"scores": (1 / (1 + np.exp(-np.array([[4.82, -1.5, 6.38], [40, -40, 0]])))).astype(np.float32)}
    endpoint = ANSWERS.Settings(scale="log_odds")
    told = ANSWERS.documents(LABELS, sure, ANSWERS.Params(), endpoint)
    assert ANSWERS.line(told[0]) == ["Sea view 6.38, Balcony 4.82"]
    everything = ANSWERS.documents(LABELS, sure, ANSWERS.Params(top_k="all"), endpoint)
    assert [tag["tag"] for tag in everything[0]["tags"]] == ["Sea view", "Balcony", "Garden"]
    assert all(np.isfinite(tag["score"]) for tag in everything[1]["tags"])
    assert everything[0]["tags"][2]["score"] == pytest.approx(-1.5, abs=1e-5)
    asked = ANSWERS.Params(scale="log_odds")
    assert ANSWERS.documents(LABELS, sure, asked, ANSWERS.Settings()) == told
    tensors = ANSWERS.outputs(LABELS, sure, asked, ANSWERS.Settings())
    assert tensors["scores"][0].tolist() == pytest.approx([6.38, 4.82], abs=1e-3)


def test_answers_are_compared_as_probabilities_however_an_endpoint_is_set() -> None:
    served = ANSWERS.documents(LABELS, {"scores": SCORES}, ANSWERS.everything(), ANSWERS.Settings(scale="log_odds"))
    gap, is_same = ANSWERS.differences(LABELS, {"scores": SCORES}, served, 0.0)
    assert gap.tolist() == [0, 0]
    assert is_same.all()
