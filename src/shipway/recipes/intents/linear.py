"""The committee's linear SVM: solved exactly before the other members are trained. Numpy, scipy and scikit-learn.

It sees what a TF-IDF SVM over words 1-2 and `char_wb` 2-5 sees: runs of characters across a space are left out, and
its weights are L2-normalised for words and for characters apart. Gradient descent on the same weights stays 0.4 to 0.9
points behind the solver (docs/decisions/0044-a-solved-linear-member.md).
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shipway.recipes.arrays import Ragged
from shipway.recipes.intents.encode import IntentsEncoder
from shipway.recipes.intents.limits import too_many
from shipway.recipes.intents.params import Params
from shipway.tasks.classification.calibration import MIN_ROWS, calibrate

MAX_WEIGHTS = 1 << 26  # grams times classes: 128 MB in half precision
USUAL_TEMPERATURE = 0.2  # of margins with C = 1, where too few rows are held out to measure it
SEED = 0

# Of a vector beside n-grams' two bags, all of length 1: best or next to it on four languages with 10 and 50 rows a
# class, where 1 loses up to 1.3 points and 3 costs where rows are few (docs/decisions/0171).
VECTOR_WEIGHT = 1.5
# Of the solution with vectors beside the one of n-grams alone; 0 leaves vectors out. Log loss tells them apart: by
# accuracy on few held-out rows, chance left vectors out.
SHARES = (1.0, 0.5, 0.0)
# Above so many rows times classes, vectors are given to the solver along their strongest directions alone: all 512
# numbers take it twice as long, and the solution no further (docs/decisions/0178).
EXACT_WORK = 200_000
DIRECTIONS = 128
TOLERANCE = 0.03  # of the solver: a hundredth of it takes half as long again, for the same answers


@dataclass(frozen=True)
class Split:
    """Encoded rows.

    Attributes:
        grams: Their n-grams.
        sentence: Their vectors, float32 (n, width); None where the encoder gives none.
        labels: Class ids, shape (n,).
    """

    grams: Ragged
    sentence: NDArray[np.float32] | None
    labels: NDArray[np.int64]


_solved: dict[bytes, Solution] = {}  # of the last dataset: the trials of a sweep share it


@dataclass(frozen=True)
class Solution:
    """Log probabilities are `log_softmax((features @ table + unit(sentence) @ sentence_table + bias) / temperature)`.

    Attributes:
        table: float16, shape (gram ids below `first_across`, classes).
        bias: float32, shape (classes,).
        temperature: Measured on held-out rows.
        sentence_table: float32, shape (width, classes), of vectors of length 1; zeros where they did not help, None
            where there are none.
        right: Share of the held-out rows that it answers right.
        right_alone: The same of n-grams alone, where there are vectors.
    """

    table: NDArray[np.float16]
    bias: NDArray[np.float32]
    temperature: float
    sentence_table: NDArray[np.float32] | None = None
    right: float = 0.0
    right_alone: float = 0.0

    @property
    def uses_sentences(self) -> bool:
        return self.sentence_table is not None and bool(self.sentence_table.any())

    @property
    def told(self) -> str:
        """What the vectors brought."""
        return gain(self.right, self.right_alone, is_used=self.uses_sentences)


def refusal(params: Params, encoder: IntentsEncoder) -> str | None:
    """Why a model has no solved member, None where it has one: the same answer wherever the model is built."""
    classes = len(encoder.labels)
    if params.members < 2 or not params.svm_weight:
        return "it is switched off by members or svm_weight"
    if classes < 2:
        return "there is one class only"
    if why := too_many(encoder.rows, classes):
        return why
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


def gain(right: float, right_alone: float, *, is_used: bool) -> str:
    """What vectors brought, for people: shares of the eval split."""
    shares = f"{100 * right:.1f} % of the eval split right with sentence vectors, {100 * right_alone:.1f} % without"
    kept = ": they are kept, as log loss does not speak against them by more than chance" if right < right_alone else ""
    return f"The SVM answers {shares}{kept if is_used else ': they are left out'}"


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1, as `model.SolvedLinear` takes them."""
    lengths: NDArray[np.float32] = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True)) + np.float32(1e-6)
    return vectors / lengths


def solve(encoder: IntentsEncoder, train: Split, held_out: Split) -> Solution:
    """A one-vs-rest linear SVM (C = 1, squared hinge loss); the same rows give the same numbers.

    With vectors it is solved twice, with them and without, and the mean of the two is taken, by the `best_share`.
    """
    key = hashlib.sha256(encoder.idf().tobytes())
    for split in (train, held_out):
        key.update(split.grams.values.tobytes() + split.grams.offsets.tobytes() + split.labels.tobytes())
        key.update(b"" if split.sentence is None else split.sentence.tobytes())
    solution = _solved.get(key.digest())
    if solution is None:
        _solved.clear()
        solution = _solved[key.digest()] = _solve(encoder, train, held_out)
    return solution


def _solve(encoder: IntentsEncoder, train: Split, held_out: Split) -> Solution:
    of_grams, of_held_out = features(train.grams, encoder), features(held_out.grams, encoder)
    classes, labels = len(encoder.labels), held_out.labels
    weights, bias = _fit(of_grams, train.labels, classes)
    table = weights.T.astype(np.float16)
    margins = of_held_out @ table.astype(np.float32) + bias
    alone = Solution(table, bias.astype(np.float32), calibrate(margins, labels, USUAL_TEMPERATURE))
    if train.sentence is None or held_out.sentence is None:
        return alone
    from scipy import sparse

    width, vectors, columns = train.sentence.shape[1], unit(train.sentence), of_grams.shape[1]
    turn = directions(vectors) if len(vectors) * classes > EXACT_WORK else np.eye(width, dtype=np.float32)
    seen = sparse.hstack([of_grams, VECTOR_WEIGHT * vectors @ turn], format="csr")
    of_both, bias_of_both = _fit(seen, train.labels, classes)
    of_vectors = (VECTOR_WEIGHT * turn @ of_both.T[columns:]).astype(np.float32)
    both = of_held_out @ of_both.T[:columns] + unit(held_out.sentence) @ of_vectors + bias_of_both
    blends = {share: share * both + (1 - share) * margins for share in SHARES}
    share = best_share({share: row_losses(blend, labels) for share, blend in blends.items()})
    shown = blends[share] if share else both
    right, right_alone = (float((each.argmax(axis=1) == labels).mean()) for each in (shown, margins))
    if not share:
        return replace(alone, sentence_table=np.zeros_like(of_vectors), right=right, right_alone=right_alone)
    table = (share * of_both.T[:columns] + (1 - share) * weights.T).astype(np.float16)
    mean_bias = (share * bias_of_both + (1 - share) * bias).astype(np.float32)
    temperature = calibrate(blends[share], labels, USUAL_TEMPERATURE)
    return Solution(table, mean_bias, temperature, np.float32(share) * of_vectors, right, right_alone)


def best_share(losses: dict[float, NDArray[np.float64]]) -> float:
    """The first share, unless another one's mean loss is less by more than the difference's standard error.

    Args:
        losses: Share -> loss of each row, shape (n,), the same rows for all; of others alike the last is taken.
    """
    first = next(iter(losses))
    best = min(reversed(losses), key=lambda share: float(losses[share].sum()))  # where vectors mislead, rather none
    less = losses[first] - losses[best]
    if len(less) < 2:
        return first
    return best if less.mean() > less.std(ddof=1) / np.sqrt(len(less)) else first


def row_losses(margins: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log loss of each row whose class is known, with the margins' best temperature.

    Where they are too few to measure one, 1 for a wrong answer and 0 for a right one: the log loss of right answers
    would say whose margins are wider, and no more.
    """
    from scipy.special import log_softmax

    known = np.flatnonzero((labels >= 0) & (labels < margins.shape[1]))
    margins, labels = margins[known].astype(np.float64), labels[known]
    losses: NDArray[np.float64] = (margins.argmax(axis=1) != labels).astype(np.float64)
    if len(known) >= MIN_ROWS:
        scaled = margins / calibrate(margins, labels, USUAL_TEMPERATURE)
        losses = -log_softmax(scaled, axis=1)[np.arange(len(known)), labels]
    return losses


def directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The orthogonal directions in which vectors are longest, float32 (width, at most DIRECTIONS)."""
    _, found = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    strongest: NDArray[np.float32] = found[:, ::-1][:, :DIRECTIONS].astype(np.float32)
    return strongest


def _fit(rows: Any, labels: NDArray[np.int64], classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights, shape (classes, columns of the rows), and bias."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    # A class without training rows is nobody's answer: its margin is -1, as that of a problem without positives.
    weights, bias = np.zeros((classes, rows.shape[1])), np.full(classes, -1.0)
    if len(np.unique(labels)) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one class of many, by a margin that nobody sees
            solved = LinearSVC(C=1.0, tol=TOLERANCE, random_state=SEED).fit(rows, labels)
        both = len(solved.classes_) == 2  # scikit-learn then keeps the second class' margin only
        weights[solved.classes_] = np.vstack([-solved.coef_, solved.coef_]) if both else solved.coef_
        bias[solved.classes_] = np.concatenate([-solved.intercept_, solved.intercept_]) if both else solved.intercept_
    return weights, bias
