"""Word vectors of a user's own, as the intents model begins with them. Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shipway.recipes.intents.encode import IntentsEncoder


def load_embeddings(uri: str, encoder: IntentsEncoder) -> NDArray[np.float32]:
    """Word vectors from a text file (a word, then its numbers, one word a line; a header line is skipped).

    Returns:
        float32, shape (word ids, width); words that the file lacks start small and random.
    """
    from shipway.errors import InvalidSpec
    from shipway.storage import open_uri

    store, key = open_uri(uri)
    place = {word: i for i, word in enumerate(encoder.vocabulary, start=1 + encoder.params.unknown_buckets)}
    vectors: dict[int, NDArray[np.float32]] = {}
    for number, line in enumerate(store.get(key).decode("utf-8", "replace").splitlines()):
        word, _, rest = line.rstrip().partition(" ")
        if number == 0 and len(rest.split()) == 1:
            continue
        if word.lower() in place:
            try:
                vectors.setdefault(place[word.lower()], np.array(rest.split(), dtype=np.float32))
            except ValueError as error:
                raise InvalidSpec(
                    f"{uri} line {number + 1}: not numbers behind {word!r}", field="params.embeddings", given=word
                ) from error
    widths = {len(vector) for vector in vectors.values()}
    if len(widths) != 1:
        raise InvalidSpec(
            f"{uri} has {f'rows of widths {widths}' if widths else 'no word of the vocabulary'}",
            field="params.embeddings",
            allowed="one word a line, each with equally many numbers",
        )
    table = np.random.default_rng(0).normal(0, 0.05, (encoder.word_ids, widths.pop())).astype(np.float32)
    for row, vector in vectors.items():
        table[row] = vector
    return table
