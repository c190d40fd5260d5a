from __future__ import annotations

from typing import Any, cast

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from shipway.artifacts import FeatureSpec
from shipway.tasks import classes_in, load_task
from shipway.tasks.base import Task

TASK: Task = load_task("regression")
LABELS = TASK.labels
NO_ENCODER = cast(Any, None)


def read(*cells: str | None) -> list[tuple[str | None, str | None]]:
    text, reason = LABELS.read(pl.col("label"), LABELS.Params())
    frame = pl.DataFrame({"label": cells}, schema={"label": pl.String})
    return frame.select(text.alias("text"), reason.alias("reason")).rows()


def test_a_number_has_one_text_and_what_is_none_has_a_reason() -> None:
    assert read(" 3.50", "3.5", "+35e-1") == [("3.5", None)] * 3
    assert read(None, "1,234", "nan", "inf", "much") == [
        (None, "label is empty"),
        (None, "label has separators between its digits; write 1234.5"),
        (None, "label is a mark of a missing value"),
        (None, "label is infinite"),
        (None, "label is not a number"),
    ]


def test_numbers_are_no_classes() -> None:
    labels = pl.Series(["1.0", "2.0"])
    assert LABELS.classes(labels) is None
    assert classes_in(TASK, labels) == set()
    assert LABELS.notes({}) == []


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=5))
def test_a_label_reaches_training_as_the_number_that_it_was(numbers: list[float]) -> None:
    texts = [str(text) for text, _ in read(*map(repr, numbers))]
    encoded = LABELS.encode(NO_ENCODER, texts, [], {})
    assert LABELS.targets(NO_ENCODER) == {"label": FeatureSpec(dtype="float32", shape=[])}
    np.testing.assert_array_equal(cast(Any, encoded["label"]), np.array(numbers, dtype=np.float32))
