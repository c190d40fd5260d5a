from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shipway.errors import InvalidSpec
from shipway.specs import parse
from shipway.tasks import load_task

ANSWERS = load_task("classification").answers


def answered(
    probabilities: NDArray[np.float32], labels: list[str], threshold: float | str | None, top_k: int | str
) -> list[dict[str, Any]]:
    columns = {"probabilities": probabilities}
    return ANSWERS.documents(labels, columns, ANSWERS.Params(top_k=top_k), ANSWERS.Settings(threshold=threshold))


def test_a_top_probability_below_the_threshold_is_none_of_these() -> None:
    probabilities = np.array([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]], dtype=np.float32)
    sure, unsure = answered(probabilities, ["a", "b", "c"], 0.5, 2)
    assert (sure["label"], sure["out_of_scope"], list(sure["probabilities"])) == ("b", False, ["b", "c"])
    assert (unsure["label"], unsure["out_of_scope"]) == (None, True)
    assert unsure["probability"] == np.float32(0.4)
    assert list(unsure["probabilities"]) == ["c", "a"]
    assert answered(probabilities, ["a", "b", "c"], None, "all")[1]["label"] == "c"


def test_the_threshold_itself_is_in_scope() -> None:
    assert answered(np.array([[0.5, 0.5]], dtype=np.float32), ["a", "b"], 0.5, 1)[0]["label"] == "a"


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0, 1) | st.none())
def test_answers_name_the_highest_first_and_at_most_as_many_as_asked(
    n: int, k: int, seed: int, threshold: float | None
) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), n).astype(np.float32)
    labels = ["a", "b", "c", "d"]
    for row, answer in zip(probabilities, answered(probabilities, labels, threshold, k), strict=True):
        values = list(answer["probabilities"].values())
        assert len(values) == min(k, 4)
        assert values == sorted(values, reverse=True)
        assert answer["probability"] == row.max()
        is_out = threshold is not None and bool(row.max() < threshold)
        assert answer["out_of_scope"] is is_out
        assert (answer["label"] is None) is is_out


@pytest.mark.parametrize(("given", "is_out"), [("calibrated", False), (None, False), (0.5, True)])
def test_without_a_number_as_threshold_the_answer_is_always_a_label(given: Any, is_out: bool) -> None:
    probabilities = np.array([[0.4, 0.3, 0.3]], dtype=np.float32)
    assert answered(probabilities, ["a", "b", "c"], given, 1)[0]["out_of_scope"] is is_out
    outputs = ANSWERS.outputs(
        ["a", "b", "c"], {"probabilities": probabilities}, ANSWERS.Params(), ANSWERS.Settings(threshold=given)
    )
    assert outputs["label"].tolist() == ["" if is_out else "a"]


@pytest.mark.parametrize("given", ["some", 1.5, -0.1])
def test_a_threshold_that_is_none_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"endpoint\.answers\.threshold"):
        parse(ANSWERS.Settings, {"threshold": given}, "endpoint.answers")


EXPECTED = {"probabilities": np.array([[0.7, 0.2, 0.1], [0.400003, 0.4, 0.199997]], dtype=np.float32)}
LABELS = ["a", "b", "c"]


def differences(served: list[list[float]], tolerance: float, rows: slice = slice(None)) -> tuple[Any, Any]:
    documents = [{"probabilities": dict(zip(LABELS, row, strict=False))} for row in served]
    kept = {name: value[rows] for name, value in EXPECTED.items()}
    gaps, agrees = ANSWERS.differences(LABELS, kept, documents, tolerance)
    return gaps.tolist(), agrees.tolist()


def test_two_classes_that_tie_within_the_tolerance_may_change_places() -> None:
    gaps, agrees = differences([[0.7, 0.2, 0.1], [0.4, 0.400003, 0.199997]], 1e-5)
    assert max(gaps) < 1e-5
    assert agrees == [True, True]


def test_a_flipped_top_class_is_another_answer_although_the_tolerance_is_wide() -> None:
    assert differences([[0.45, 0.44, 0.11]], 0.3, slice(1)) == (pytest.approx([0.25]), [True])
    assert differences([[0.44, 0.45, 0.11]], 0.26, slice(1))[1] == [True]  # closer than twice the tolerance
    assert differences([[0.44, 0.45, 0.11]], 0.24, slice(1))[1] == [False]


@pytest.mark.parametrize("served", [[float("nan"), 0.2, 0.1], [0.7, 0.2]])
def test_an_answer_that_cannot_be_compared_is_infinitely_far(served: list[float]) -> None:
    assert differences([served], 1.0, slice(1))[0] == [float("inf")]


SURE = {"probabilities": np.array([[0.9, 0.1], [0.9, 0.1]], np.float32), "sureness": np.array([0.2, 0.9], np.float32)}


@pytest.mark.parametrize(
    ("threshold", "is_out"),
    [({"sureness": 0.5}, [True, False]), (0.5, [False, False]), (0.95, [True, True]), (None, [False, False])],
    ids=str,
)
def test_a_bare_threshold_is_one_of_the_probability_and_another_of_the_sureness(
    threshold: Any, is_out: list[bool]
) -> None:
    settings = parse(ANSWERS.Settings, {"threshold": threshold}, "answers")
    documents = ANSWERS.documents(["a", "b"], SURE, ANSWERS.Params(), settings)
    assert [document["out_of_scope"] for document in documents] == is_out
    assert [document["probability"] for document in documents] == [np.float32(0.9)] * 2
    assert [document["sureness"] for document in documents] == SURE["sureness"].tolist()
    outputs = ANSWERS.outputs(["a", "b"], SURE, ANSWERS.Params(), settings)
    assert outputs["out_of_scope"].tolist() == is_out
    np.testing.assert_array_equal(outputs["sureness"], SURE["sureness"])
    assert set(outputs) == set(ANSWERS.tensors)


def test_a_model_that_tells_no_sureness_is_judged_by_its_probability() -> None:
    columns = {"probabilities": SURE["probabilities"]}
    settings = ANSWERS.Settings(threshold={"sureness": 0.95})
    [first, _] = ANSWERS.documents(["a", "b"], columns, ANSWERS.Params(), settings)
    assert first["out_of_scope"]
    assert "sureness" not in first
    outputs = ANSWERS.outputs(["a", "b"], columns, ANSWERS.Params(), settings)
    np.testing.assert_array_equal(outputs["sureness"], outputs["probability"])


@pytest.mark.parametrize("given", [{"sureness": 2}, {"sure": 0.5}, {}], ids=str)
def test_a_threshold_of_the_sureness_that_is_none_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"^endpoint\.answers\.threshold[^\n]*$"):
        parse(ANSWERS.Settings, {"threshold": given}, "endpoint.answers")


@pytest.mark.parametrize(
    ("told", "gap"), [({"sureness": 0.2}, 0.0), ({"sureness": 0.3}, 0.1), ({}, float("inf"))], ids=str
)
def test_sureness_is_compared_where_it_was_kept(told: dict[str, float], gap: float) -> None:
    served = [{"probabilities": {"a": 0.9, "b": 0.1}, **told}]
    kept = {name: value[:1] for name, value in SURE.items()}
    assert ANSWERS.differences(["a", "b"], kept, served, 1e-5)[0] == pytest.approx([gap], abs=1e-6)
    del kept["sureness"]  # an evaluation of an earlier Shipway
    assert ANSWERS.differences(["a", "b"], kept, served, 1e-5)[0] == pytest.approx([0.0], abs=1e-6)


def test_a_screen_says_why_a_probable_label_is_none_of_these() -> None:
    settings = ANSWERS.Settings(threshold={"sureness": 0.5})
    far, near = ANSWERS.documents(["a", "b"], SURE, ANSWERS.Params(), settings)
    assert ANSWERS.line(far) == ["(none of these)", "0.900, sureness 0.200", "b 0.100"]
    assert ANSWERS.line(near)[:2] == ["a", "0.900"]
