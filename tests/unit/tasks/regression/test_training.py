from __future__ import annotations

import os

import numpy as np
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from shipway.tasks import load_task

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

HEAD = load_task("regression").head


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_sums_of_batches_give_the_figures_of_the_split(shape: tuple[int, ...]) -> None:
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(0)
    truth = random.normal(5, 3, 100).astype(np.float32)
    predicted = truth + random.normal(0.3, 1, 100).astype(np.float32)
    sums = np.zeros(7)
    for rows in (slice(0, 64), slice(64, 100)):
        outputs = tf.constant(predicted[rows].reshape(shape))
        sums += HEAD.sums(outputs, {"label": tf.constant(truth[rows])}).numpy()
    totals = HEAD.totals(sums)
    rmse = root_mean_squared_error(truth, predicted)
    expected = {"rmse": rmse, "mae": mean_absolute_error(truth, predicted), "r2": r2_score(truth, predicted)}
    assert totals == pytest.approx({**expected, "loss": rmse**2}, rel=1e-5)
    assert list(totals) == [*HEAD.metrics, "loss"]
    assert 0 < HEAD.stderr(sums) < totals["rmse"] / 5
    batch = HEAD.batch(tf.constant(predicted.reshape(shape)), {"label": tf.constant(truth)})
    assert [*batch] == [*HEAD.batch_metrics]
    assert float(batch["mae"]) == pytest.approx(expected["mae"], rel=1e-5)


def test_one_number_a_row_is_served() -> None:
    tf = pytest.importorskip("tensorflow")
    served = HEAD.serve(tf.constant([[1.0], [2.0]], tf.bfloat16), HEAD.calibrate(None, {}))
    assert list(served) == ["value"]
    assert (served["value"].dtype, served["value"].numpy().tolist()) == (tf.float32, [1.0, 2.0])
