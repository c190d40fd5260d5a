"""What NumPy measures from served tensors is what training measures in TensorFlow, task by task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.tasks import SHIPPED, load_task
from tests.unit.training.test_examples import EXAMPLES, FEATURES, TARGETS, columns, write

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

LABELS = ["a", "b", "c"]
RANDOM = np.random.default_rng(3)
LENGTHS = RANDOM.integers(0, 9, 40)
TAGS = np.where(np.arange(9) < LENGTHS[:, None], RANDOM.integers(0, 7, (40, 9)), -1)
LOGITS: dict[str, NDArray[Any]] = {
    "classification": RANDOM.normal(0, 2, (40, 3)).astype(np.float32),
    "regression": RANDOM.normal(5, 9, (40, 1)).astype(np.float32),
    "tagging": RANDOM.normal(0, 2, (40, 3)).astype(np.float32),
    # Right about half of the tokens, or no span would be.
    "spans": (RANDOM.normal(0, 1, (40, 9, 7)) + 4 * (np.arange(7) == TAGS[..., None])).astype(np.float32),
}
TRUTH: dict[str, NDArray[Any]] = {
    "classification": RANDOM.integers(0, 3, 40),
    "regression": RANDOM.normal(5, 9, 40).astype(np.float32),
    "tagging": (RANDOM.random((40, 3)) < 0.4).astype(np.float32),
    "spans": TAGS,
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_sums_of_what_is_served_are_those_of_training(name: str) -> None:
    import tensorflow as tf

    head: Any = load_task(name).head
    targets = {"label": TRUTH[name]}
    trained = head.sums(tf.constant(LOGITS[name]), {key: tf.constant(value) for key, value in targets.items()}).numpy()
    constants = dict.fromkeys(("temperature",), 1.0)
    served = {key: value.numpy() for key, value in head.serve(tf.constant(LOGITS[name]), constants).items()}
    shapes = head.served(LABELS)
    assert set(shapes) == set(served)
    for key, shape in shapes.items():
        assert all(a in (b, None) for a, b in zip(shape, served[key].shape[1:], strict=True)), key
    found = head.served_sums(served, targets)
    assert found.dtype == np.float64
    if name == "spans":  # of a wrong tag only what all others can have at most is known: its loss is at least that
        assert found[-1] <= trained[-1] + 1e-6
        found, trained = found[:-1], trained[:-1]
        assert found[0] > 10
    np.testing.assert_allclose(found, trained, rtol=1e-5)


def test_an_answer_that_is_surely_wrong_has_a_finite_loss() -> None:
    head: Any = load_task("classification").head
    sums = head.served_sums({"probabilities": np.eye(3, dtype=np.float32)}, {"label": np.array([0, 1, 0])})
    assert head.totals(sums) == {"accuracy": pytest.approx(2 / 3), "loss": pytest.approx(29.1, abs=0.1)}


def test_records_read_as_tensorflow_reads_them(tmp_path: Path) -> None:
    from shipway.training.data import Parser

    path = write(tmp_path / "a", columns([[7, 8], [], [-9], [1 << 62]]))
    theirs = Parser(FEATURES, TARGETS).dense(next(iter(Parser(FEATURES, TARGETS).read([path]))))
    ours = EXAMPLES.padded(EXAMPLES.everything([path]))
    for mine, expected in zip(ours, theirs, strict=True):
        for name, value in mine.items():
            assert np.array_equal(value, expected[name].numpy()), name
