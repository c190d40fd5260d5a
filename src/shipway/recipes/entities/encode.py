"""The entities encoder: texts to ids of words and of their characters. NumPy alone: the same code in prep and in the
predictor."""

from __future__ import annotations

import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import FeatureSpec
from shipway.errors import CorruptArtifact, InvalidData
from shipway.recipes.arrays import Encoded, Ragged
from shipway.recipes.entities.params import EncoderParams
from shipway.tasks.spans.spans import types_in
from shipway.tasks.spans.tokens import tokens

if TYPE_CHECKING:
    import polars as pl

FORMAT = 2  # of encoder.json, of the tokens and of the hash; a change of any is a new number
MAX_COUNTED_WORDS = 300_000  # about 50 MB
FIRST_CHARACTER = 2  # 0 is padding, 1 every unknown character

Ints = NDArray[np.int64]


class EntitiesEncoder:
    """Texts to `words` (ids) and `characters` (ids, `word_chars` a word); both count from 1, 0 is padding.

    Args:
        params: What was fitted.
        labels: Types by number.
        vocabulary: Words with an id of their own, as `folded` writes them.
        characters: Characters with an id of their own, as one text.
    """

    tokens = "words"

    def __init__(self, params: EncoderParams, labels: Sequence[str], vocabulary: Sequence[str], characters: str):
        self.params = params
        self.labels = list(labels)
        self.vocabulary = list(vocabulary)
        self.characters = characters
        self._words = {word: number for number, word in enumerate(self.vocabulary, 1 + params.unknown_buckets)}
        self._characters = {character: number for number, character in enumerate(characters, FIRST_CHARACTER)}

    @property
    def features(self) -> dict[str, FeatureSpec]:
        """`words` and `characters`, int64 of variable length."""
        return {name: FeatureSpec(dtype="int64", shape=[None]) for name in ("characters", "words")}

    @property
    def word_ids(self) -> int:
        """Size of the word id space: padding, unknown buckets, vocabulary."""
        return 1 + self.params.unknown_buckets + len(self.vocabulary)

    @property
    def character_ids(self) -> int:
        """Size of the character id space."""
        return FIRST_CHARACTER + len(self.characters)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """`words`, and `characters`: those of each word in its turn, padded with 0 behind to `word_chars`."""
        starts, ends = self.token_offsets(texts)
        places: dict[str, int] = {}  # of each distinct word of the chunk
        which = np.array([places.setdefault(word, len(places)) for word in _words(texts, starts, ends)], np.int64)
        ids = np.array([self._word_id(word) for word in places], np.int64)
        spelled = np.zeros((len(places), self.params.word_chars), np.int64)
        for row, word in zip(spelled, places, strict=True):
            known = [self._characters.get(character, 1) for character in _clipped(word, len(row))]
            row[: len(known)] = known
        return {
            "characters": Ragged(spelled[which].reshape(-1), starts.offsets * self.params.word_chars),
            "words": Ragged(ids[which], starts.offsets),
        }

    def token_offsets(self, values: Sequence[str]) -> tuple[Ragged, Ragged]:
        """Where each word begins and ends in its text, in code points; at most `max_words` a text."""
        starts, ends = tokens(values)
        counts = np.diff(starts.offsets)
        most = self.params.max_words
        if not (counts > most).any():
            return starts, ends
        kept = np.arange(len(starts.values)) - np.repeat(starts.offsets[:-1], counts) < most
        offsets = np.concatenate(([0], np.cumsum(np.minimum(counts, most)))).astype(np.int64)
        return Ragged(starts.values[kept], offsets), Ragged(ends.values[kept], offsets)

    def _word_id(self, word: str) -> int:
        plain = folded(word)
        known = self._words.get(plain)
        return 1 + zlib.crc32(plain.encode(errors="replace")) % self.params.unknown_buckets if known is None else known

    def to_document(self) -> dict[str, Any]:
        """JSON: parameters, labels, vocabulary, characters."""
        return {
            "recipe": "entities",
            "format": FORMAT,
            "params": self.params.model_dump(mode="json"),
            "labels": self.labels,
            "vocabulary": self.vocabulary,
            "characters": self.characters,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> EntitiesEncoder:
        """The encoder that `to_document` described.

        Raises:
            CorruptArtifact: another recipe's document, another format, or a field that is missing or damaged.
        """
        if document.get("recipe") != "entities" or document.get("format") != FORMAT:
            raise CorruptArtifact(
                f"encoder.json: expected recipe 'entities' of format {FORMAT}, got {document.get('recipe')!r} of "
                f"format {document.get('format')!r}; encode the dataset with the Shipway that trains on it"
            )
        try:
            params = EncoderParams.model_validate(document["params"])
            return cls(params, document["labels"], document["vocabulary"], str(document["characters"]))
        except (KeyError, ValueError, TypeError) as error:
            raise CorruptArtifact(f"encoder.json: {type(error).__name__}: {error}; run prep again") from error


def fit(rows: Iterable[pl.DataFrame], params: EncoderParams) -> EntitiesEncoder:
    """Counts words and types over a stream of frames with `text` and `label` columns.

    Raises:
        InvalidData: there are no rows.
    """
    types: set[str] = set()
    counts: Counter[str] = Counter()
    characters: set[str] = set()
    total = 0
    for frame in rows:
        texts = frame["text"].to_list()
        types.update(types_in(frame["label"].unique()))
        word_counts = Counter(_words(texts, *tokens(texts)))
        for word, count in word_counts.items():
            counts[folded(word)] += count
        characters.update(*word_counts)
        total += len(texts)
        if len(counts) > MAX_COUNTED_WORDS:  # a stream without end must not fill the memory
            counts = Counter({word: count for word, count in counts.items() if count > 1})
    if not total:
        raise InvalidData("the training split has no rows; an encoder needs some to fit on", field="encode")
    often = sorted((-count, word) for word, count in counts.items() if count >= params.min_count)
    vocabulary = [word for _, word in often[: params.vocabulary]]
    return EntitiesEncoder(params, sorted(types), vocabulary, "".join(sorted(characters)))


def folded(word: str) -> str:
    """A word without what rarely tells two apart: NFKC, small letters, each digit as 0."""
    plain = word if word.isascii() else unicodedata.normalize("NFKC", word)
    plain = plain.lower()
    return "0" * len(plain) if plain.isdigit() else plain


def _words(texts: Sequence[str], starts: Ragged, ends: Ragged) -> list[str]:
    firsts, lasts, offsets = starts.values.tolist(), ends.values.tolist(), starts.offsets.tolist()
    return [
        text[firsts[at] : lasts[at]] for number, text in enumerate(texts) for at in range(*offsets[number : number + 2])
    ]


def _clipped(word: str, most: int) -> str:
    """A long word's beginning and end."""
    return word if len(word) <= most else word[: most // 2] + word[-(most - most // 2) :]
