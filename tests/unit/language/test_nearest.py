"""The search for near vectors, against a product of everything with everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shipway.language.nearest import nearest, unit

LEAST = 0.9


def clustered(rows: int, width: int, seed: int = 0, spread: float = 0.3) -> NDArray[np.float16]:
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(rows // 5, width))
    noise = draw.normal(size=(rows, width)) * draw.uniform(0, spread, (rows, 1))
    return (centres[draw.integers(0, len(centres), rows)] + noise).astype(np.float16)


@pytest.mark.parametrize("width", [16, 512])
def test_it_finds_what_all_products_find(width: int) -> None:
    corpus, queries = clustered(5_000, width), clustered(5_000, width)[::4]
    kinds = np.arange(5_000) % 3
    found = nearest(queries, corpus, LEAST, query_kinds=kinds[::4], corpus_kinds=kinds)
    products = unit(queries) @ unit(corpus).T
    products[kinds[::4][:, None] == kinds] = -1
    expected = products.max(axis=1)
    np.testing.assert_array_equal(found.places >= 0, expected >= LEAST)
    near = found.places >= 0
    assert 100 < near.sum() < len(queries)
    np.testing.assert_allclose(found.similarities[near], expected[near], atol=1e-5)
    chosen = products[np.flatnonzero(near), found.places[near]]
    np.testing.assert_allclose(chosen, expected[near], atol=1e-5)


def test_without_kinds_a_vector_is_near_itself_and_of_equal_ones_the_first_counts() -> None:
    corpus = np.concatenate([clustered(50, 200, spread=2.0)] * 2)
    found = nearest(corpus, corpus, LEAST)
    np.testing.assert_array_equal(found.places, [*range(50)] * 2)
    np.testing.assert_allclose(found.similarities, 1, atol=1e-5)


def test_thousands_of_copies_are_no_reason_to_look_at_each_pair() -> None:
    corpus = np.repeat(clustered(5, 512), 2_000, axis=0)
    kinds = np.arange(len(corpus)) % 2
    found = nearest(corpus[:600], corpus, LEAST, query_kinds=kinds[:600], corpus_kinds=kinds)
    assert (kinds[found.places] != kinds[:600]).all()
    assert (found.similarities > 0.999).all()


def test_zeros_are_near_nothing_and_nothing_is_no_error() -> None:
    corpus = clustered(20, 32)
    assert (nearest(np.zeros_like(corpus), corpus, LEAST).places == -1).all()
    assert (nearest(corpus, np.zeros_like(corpus), LEAST).places == -1).all()
    assert (nearest(corpus, corpus[:0], LEAST).places == -1).all()
    assert len(nearest(corpus[:0], corpus, LEAST).places) == 0


def test_a_corpus_may_be_a_file(tmp_path: Path) -> None:
    corpus = clustered(9_000, 256)
    corpus.tofile(tmp_path / "vectors")
    mapped = np.memmap(tmp_path / "vectors", np.float16, "r").reshape(-1, 256)
    there, here = (nearest(corpus[:100], vectors, LEAST) for vectors in (mapped, corpus))
    np.testing.assert_array_equal(there.places, here.places)
