"""Drift between two datasets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway.components.prep.compare import DRIFT, jensen_shannon, notes, stability_index

counts = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1)


@settings(deadline=None)
@given(counts, counts)
def test_measures_are_symmetric_and_bounded(then: dict[str, int], now: dict[str, int]) -> None:
    assert stability_index(then, now) == pytest.approx(stability_index(now, then))
    assert 0 <= jensen_shannon(then, now) <= 1 + 1e-12
    assert jensen_shannon(then, now) == pytest.approx(jensen_shannon(now, then))


@settings(deadline=None)
@given(counts, st.integers(1, 9))
def test_the_same_shares_have_not_moved(then: dict[str, int], factor: int) -> None:
    now = {key: count * factor for key, count in then.items()}
    assert stability_index(then, now) == pytest.approx(0, abs=1e-9)
    assert jensen_shannon(then, now) == pytest.approx(0, abs=1e-9)


def test_known_values() -> None:
    assert jensen_shannon({"a": 1}, {"b": 1}) == pytest.approx(1.0)
    expected = 0.25 * math.log(0.75 / 0.5) - 0.25 * math.log(0.25 / 0.5)
    assert stability_index({"a": 1, "b": 1}, {"a": 3, "b": 1}) == pytest.approx(expected)


def test_what_moved_is_said_in_words() -> None:
    said = notes({"new_labels": ["x"], "gone_labels": ["y", "z"], "label_psi": DRIFT + 0.1, "size_psi": None})
    assert said == [
        "1 labels that the champion does not know: x",
        "2 labels that are gone: y, z",
        "the label distribution has moved since the champion's data (PSI 0.30, above 0.2)",
    ]
