"""What a tagger's training measures and serves, against NumPy's reading of tags and seqeval's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from seqeval.metrics import f1_score

from shipway.tasks import load_task
from shipway.tasks.spans.tags import places, tag_count, tag_names
from shipway.tasks.spans.training import span_counts

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

head = load_task("spans").head
TYPES = ["number", "room"]
TAGS = tag_count(TYPES)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Any, Any]:
    """True tags, padded by -1, and answered ones, which have something behind the tokens, too."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 9)))
    truth, answers = (draw(arrays(np.int64, shape, elements=st.integers(0, TAGS - 1))) for _ in range(2))
    lengths = draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1])))
    is_token = np.arange(shape[1]) < lengths[:, None]
    answers = np.where(draw(arrays(np.bool_, shape)), truth, answers)  # else hardly a span is right
    return np.where(is_token, truth, -1), answers


def sums(truth: Any, logits: Any) -> np.ndarray[Any, Any]:
    import tensorflow as tf

    found: np.ndarray[Any, Any] = head.sums(tf.constant(logits, tf.float32), {"label": tf.constant(truth)}).numpy()
    return found


def spans(tags: Any) -> set[tuple[int, ...]]:
    return set(zip(*(part.tolist() for part in places(tags)), strict=True))


@given(batches())
@settings(deadline=None, max_examples=80)
def test_spans_are_counted_as_numpy_and_seqeval_count_them(found: Any) -> None:
    import tensorflow as tf

    truth, answers = found
    true, ours = spans(truth), spans(np.where(truth >= 0, answers, 0))
    counts = span_counts(tf.constant(truth), tf.constant(np.where(truth >= 0, answers, -1)))
    assert [float(count) for count in counts] == [len(true & ours), len(ours), len(true)]
    total = head.totals(sums(truth, np.eye(TAGS)[answers] * 9))
    names = np.array(tag_names(TYPES))
    written = [[names[row[kept]].tolist() for row, kept in zip(part, truth >= 0, strict=True)] for part in found]
    if true or ours:  # seqeval warns of nothing at all
        assert total["f1"] == pytest.approx(f1_score(*written, zero_division=0))
    else:
        assert total["f1"] == 0
    tokens = truth >= 0
    assert total["token_accuracy"] == pytest.approx((truth == answers)[tokens].mean() if tokens.any() else 0)


def test_sums_of_batches_of_any_width_add_up_in_a_compiled_step() -> None:
    import tensorflow as tf

    random = np.random.default_rng(3)
    truth, logits = random.integers(0, TAGS, (6, 7)), random.normal(size=(6, 7, TAGS))
    step = tf.function(
        lambda logits, truth: head.sums(logits, {"label": truth}),
        input_signature=[tf.TensorSpec([None, None, TAGS], tf.float32), tf.TensorSpec([None, None], tf.int64)],
    )
    wide = np.pad(truth, ((0, 0), (0, 4)), constant_values=-1)
    padded = np.pad(logits, ((0, 0), (0, 4), (0, 0)), constant_values=5)
    parts = [step(padded[:2], wide[:2]), step(logits[2:].astype(np.float32), truth[2:])]
    np.testing.assert_allclose(sum(part.numpy() for part in parts), sums(truth, logits), rtol=1e-6)
    loss = -np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    mean = np.take_along_axis(loss, truth[..., None], -1).mean()
    assert head.totals(sums(wide, padded))["loss"] == pytest.approx(mean, rel=1e-5)


def test_the_standard_error_is_what_resampled_counts_scatter_by() -> None:
    right, missed, invented = 300, 60, 40
    random = np.random.default_rng(0)
    drawn = [random.poisson(rate, 20_000) for rate in (right, missed, invented)]
    scatter = (2 * drawn[0] / (2 * drawn[0] + drawn[1] + drawn[2])).std()
    counted = np.array([right, right + invented, right + missed, 0, 1, 0], dtype=np.float64)
    assert head.stderr(counted) == pytest.approx(scatter, rel=0.03)
    assert head.stderr(np.zeros(6)) == 0
    assert head.totals(np.zeros(6)) == {"f1": 0, "token_accuracy": 0, "loss": 0}


def test_a_batch_without_a_token_has_a_number() -> None:
    import tensorflow as tf

    nothing = {"label": tf.constant([[-1, -1]], tf.int64)}
    assert float(head.batch(tf.zeros((1, 2, TAGS)), nothing)["token_accuracy"]) == 0
    assert np.isfinite(head.sums(tf.zeros((1, 2, TAGS)), nothing)).all()


def test_a_model_may_choose_its_tags_itself() -> None:
    import tensorflow as tf

    logits = tf.constant([[[5.0, 1, 0, 0, 0], [0, 1, 5, 0, 0]]])
    own = {"logits": logits, "tags": tf.constant([[1, 2]], tf.int32)}
    truth = {"label": tf.constant([[1, 2]], tf.int64)}
    assert head.totals(head.sums(logits, truth).numpy())["f1"] == 0
    assert head.totals(head.sums(own, truth).numpy())["f1"] == 1
    assert float(head.batch(own, truth)["token_accuracy"]) == 1
    shares = tf.nn.softmax(logits / 2).numpy()
    for outputs, chosen in ((logits, [0, 2]), (own, [1, 2])):
        served = head.serve(outputs, {"temperature": 2.0})
        assert served["tags"].dtype == tf.int32
        assert served["tags"].numpy().tolist() == [chosen]
        np.testing.assert_allclose(served["scores"].numpy()[0], shares[0][[0, 1], chosen], rtol=1e-6)


@pytest.mark.parametrize("as_dict", [False, True])
def test_scores_are_made_as_sure_as_they_are_right(as_dict: bool) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(size=(40, 6, TAGS)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    truth = (random.random((40, 6, 1)) < shares.cumsum(-1)).argmax(-1)
    truth[:, 4:], sharp = -1, logits * 3
    found = head.calibrate({"logits": sharp} if as_dict else sharp, {"label": truth})
    assert found["temperature"] == pytest.approx(3, rel=0.35)
