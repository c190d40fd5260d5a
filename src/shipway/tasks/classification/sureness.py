"""How sure an answer is, where a model tells how alike a row is to those that it was trained on. NumPy only.

`sureness = probability * exp(PENALTY * min(0, similarity - usual))`, so it is the probability itself for a row that is
as alike as rows in scope usually are, and less for others: a model may be sure of a text that is unlike all that it has
seen. What lies above the usual says nothing of a row: rows that stand close to training rows are answered wrongly, too
(docs/decisions/0175-sureness.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

USUAL_SHARE = 0.05  # of the eval rows that are less alike than the usual
MIN_ROWS = 10
PENALTY = 8.0
NEVER_UNUSUAL = -1.0  # as a cosine has it


def usual(similarity: NDArray[np.floating]) -> float:
    """What a row's similarity has at least, but for `USUAL_SHARE` of the rows in scope.

    Args:
        similarity: Of rows of the eval split, shape (n,); for fewer than MIN_ROWS nothing is unusual.
    """
    return float(np.quantile(similarity, USUAL_SHARE)) if len(similarity) >= MIN_ROWS else NEVER_UNUSUAL
