from __future__ import annotations

import numpy as np

from shipway.components.evaluate.launch import KFP_MATRIX_CLASSES, _small_matrix


def test_a_matrix_of_many_classes_keeps_those_with_the_most_errors_and_every_row() -> None:
    random = np.random.default_rng(0)
    counts = np.diag(np.full(150, 30))
    counts[7, 9] = 50
    counts[:20, :20] += random.integers(0, 5, (20, 20))
    labels = [f"label {i}" for i in range(150)]
    names, matrix = _small_matrix(labels, counts.tolist())
    assert len(names) == len(matrix) == KFP_MATRIX_CLASSES
    assert {"label 7", "label 9"} <= set(names)
    assert names[-1] == "(91 others)"
    assert sum(map(sum, matrix)) == counts.sum()
    assert matrix[names.index("label 7")][names.index("label 9")] == counts[7, 9]


def test_a_matrix_of_few_classes_stays_as_it_is() -> None:
    assert _small_matrix(["a", "b"], [[1, 2], [3, 4]]) == (["a", "b"], [[1, 2], [3, 4]])
