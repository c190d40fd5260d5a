"""Thumbnails as plain features of images, for linear baselines: what colour and light alone say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from shipway.inputs.image.decode import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

SIZE = 16
# Length of a row of average spread: the penalty that suits texts, whose rows have length 1, is too strong for pixels
# that all resemble their neighbours (docs/decisions/0155-networks-that-read-images.md has the figures).
LENGTH = 3.0


def fit(files: Iterable[bytes]) -> tuple[csr_array, Callable[[Iterable[bytes]], csr_array]]:
    """The features of images, float64 (n, 768), and what gives those of others on the same scales.

    Args:
        files: JPEG, PNG, WebP or GIF, whole ones.
    """
    from scipy.sparse import csr_array

    pixels = _pixels(files)
    mean, spread = pixels.mean(axis=0), pixels.std(axis=0)
    scale = LENGTH / np.sqrt(pixels.shape[1]) / np.where(spread > 0, spread, 1.0)

    def transform(others: Iterable[bytes]) -> csr_array:
        return csr_array((_pixels(others) - mean) * scale)

    return csr_array((pixels - mean) * scale), transform


def _pixels(files: Iterable[bytes]) -> NDArray[np.float64]:
    rows = [decode(file, SIZE).ravel() for file in files]
    return np.array(rows, dtype=np.float64).reshape(len(rows), SIZE * SIZE * 3)
