"""The committee's linear SVM: solved exactly before the other members are trained. Numpy, scipy and scikit-learn.

It sees what a TF-IDF SVM over words 1-2 and `char_wb` 2-5 sees: runs of characters across a space are left out, and
its weights are L2-normalised for words and for characters apart. Gradient descent on the same weights stays 0.4 to 0.9
points behind the solver (docs/decisions/0044-a-solved-linear-member.md).
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.recipes.arrays import Ragged
from shipway.recipes.intents.encode import IntentsEncoder
from shipway.recipes.intents.params import Params
from shipway.tasks.classification.calibration import calibrate

# Rows times classes, of which the solver's time is made: 1.7 million took 18 s of a core. A limit in minutes would meet
# the one on steps that do not come (`stall_timeout_s`) where many processes share a core.
MAX_WORK = 3_000_000
MAX_WEIGHTS = 1 << 26  # grams times classes: 128 MB in half precision
USUAL_TEMPERATURE = 0.2  # of margins with C = 1, where too few rows are held out to measure it
SEED = 0

Rows = tuple[Ragged, NDArray[np.int64]]  # `grams` of a split and class ids, shape (n,)

_solved: dict[bytes, Solution] = {}  # of the last dataset: the trials of a sweep share it


@dataclass(frozen=True)
class Solution:
    """Log probabilities are `log_softmax((features @ table + bias) / temperature)`.

    Attributes:
        table: float16, shape (gram ids below `first_across`, classes).
        bias: float32, shape (classes,).
        temperature: Measured on held-out rows.
    """

    table: NDArray[np.float16]
    bias: NDArray[np.float32]
    temperature: float


def refusal(params: Params, encoder: IntentsEncoder) -> str | None:
    """Why a model has no solved member, None where it has one: the same answer wherever the model is built."""
    classes = len(encoder.labels)
    if params.members < 2 or not params.svm_weight:
        return "it is switched off by members or svm_weight"
    if classes < 2:
        return "there is one class only"
    if encoder.rows * classes > MAX_WORK:
        return f"{encoder.rows:,} rows x {classes:,} classes are above {MAX_WORK:,}"
    if encoder.first_across * classes > MAX_WEIGHTS:
        return f"{encoder.first_across:,} n-grams x {classes:,} classes are above {MAX_WEIGHTS:,}"
    return None


def features(grams: Ragged, encoder: IntentsEncoder) -> Any:
    """What `model.SolvedLinear` weighs n-grams with, as a scipy CSR matrix, float32 (n, first_across)."""
    from scipy import sparse

    idf, cut, end = encoder.idf(), encoder.first_char_gram, encoder.first_across
    row = np.repeat(np.arange(len(grams.offsets) - 1), np.diff(grams.offsets))
    inside = grams.values < end
    row, ids = row[inside], grams.values[inside]
    weights, bag = idf[ids].astype(np.float64), 2 * row + (ids >= cut)
    norms = np.sqrt(np.bincount(bag, weights**2, minlength=2 * len(grams.offsets))) + 1e-6
    matrix = sparse.csr_matrix((weights / norms[bag], (row, ids)), shape=(len(grams.offsets) - 1, end))
    matrix.sum_duplicates()
    return matrix.astype(np.float32)


def solve(encoder: IntentsEncoder, train: Rows, held_out: Rows) -> Solution:
    """A one-vs-rest linear SVM (C = 1, squared hinge loss); the same rows give the same numbers."""
    grams, labels = train
    key = hashlib.sha256(encoder.idf().tobytes())
    for part in (grams, held_out[0]):
        key.update(part.values.tobytes() + part.offsets.tobytes())
    key.update(labels.tobytes() + held_out[1].tobytes())
    found = _solved.get(key.digest())
    if found is None:
        _solved.clear()
        found = _solved[key.digest()] = _solve(encoder, train, held_out)
    return found


def _solve(encoder: IntentsEncoder, train: Rows, held_out: Rows) -> Solution:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    classes = len(encoder.labels)
    # A class without training rows is nobody's answer: its margin is -1, as that of a problem without positives.
    weights, bias = np.zeros((classes, encoder.first_across)), np.full(classes, -1.0)
    grams, labels = train
    if len(np.unique(labels)) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one class of many, by a margin that nobody sees
            solved = LinearSVC(C=1.0, random_state=SEED).fit(features(grams, encoder), labels)
        both = len(solved.classes_) == 2  # scikit-learn then keeps the second class' margin only
        weights[solved.classes_] = np.vstack([-solved.coef_, solved.coef_]) if both else solved.coef_
        bias[solved.classes_] = np.concatenate([-solved.intercept_, solved.intercept_]) if both else solved.intercept_
    table = weights.T.astype(np.float16)
    margins = features(held_out[0], encoder) @ table.astype(np.float32) + bias
    return Solution(table, bias.astype(np.float32), calibrate(margins, held_out[1], USUAL_TEMPERATURE))
