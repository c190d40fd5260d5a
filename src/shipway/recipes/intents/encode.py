"""The intents encoder: texts to n-gram buckets and word ids. Numpy only: the same code in prep and in the predictor."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import FeatureSpec
from shipway.errors import CorruptArtifact, InvalidData
from shipway.recipes.arrays import Encoded, Ragged
from shipway.recipes.intents import text as tx
from shipway.recipes.intents.params import EncoderParams

if TYPE_CHECKING:
    import polars as pl

FORMAT = 2  # of encoder.json and of the hash; a change of either is a new number
READABLE = (1, FORMAT)  # 1: runs of characters across a space had no buckets of their own
CHUNK = 20_000  # texts per pass: the working arrays stay within a few tens of MB
MAX_COUNTED_WORDS = 300_000  # about 100 MB of counts and spellings


class IntentsEncoder:
    """Texts to `grams` (ids of hash buckets) and `words` (word ids); both count from 1, 0 is padding.

    Args:
        params: What was fitted.
        labels: Class names by id.
        counts: How often each bucket occurred in the training split, uint32, shape (buckets,).
        rows: Texts of the training split.
        vocabulary: Words with an id of their own, most frequent first.
        version: FORMAT of the hash that the counts are of.
    """

    def __init__(
        self,
        params: EncoderParams,
        labels: Sequence[str],
        counts: NDArray[np.uint32],
        rows: int,
        vocabulary: Sequence[str],
        version: int = FORMAT,
    ) -> None:
        self.params = params
        self.version = version
        self.rows = rows
        self.counts = counts
        self.vocabulary = list(vocabulary)
        self._labels = list(labels)
        # Buckets that training saw are numbered without gaps: the model's table has no rows that nobody ever uses.
        kept = counts >= params.min_count
        kept[0] = False
        self._ids = np.where(kept, np.cumsum(kept), 0).astype(np.int64)
        self._kept = np.flatnonzero(kept)
        hashes = np.array([tx.word_hash(word) for word in self.vocabulary], dtype=np.uint64)
        self._order = np.argsort(hashes)
        self._sorted_hashes = hashes[self._order]

    @property
    def labels(self) -> list[str]:
        """Class names; the position is the class id."""
        return self._labels

    @property
    def features(self) -> dict[str, FeatureSpec]:
        """`grams` and `words`, int64 of variable length."""
        return {name: FeatureSpec(dtype="int64", shape=[None]) for name in ("grams", "words")}

    @property
    def packed(self) -> dict[str, FeatureSpec]:
        """The text itself, UTF-8."""
        return {"text": FeatureSpec(dtype="bytes", shape=[])}

    def pack(self, texts: Sequence[str]) -> Encoded:
        """The texts' bytes, shape (n,)."""
        packed = np.empty(len(texts), dtype=object)
        packed[:] = [text.encode("utf-8", "surrogatepass") for text in texts]
        return {"text": packed}

    def unpack(self, records: Encoded) -> Encoded:
        """As `encode` gives them."""
        texts = records["text"]
        assert not isinstance(texts, Ragged)
        return self.encode([text.decode("utf-8", "surrogatepass") for text in texts.tolist()])

    @property
    def word_ids(self) -> int:
        """Size of the word id space: padding, unknown buckets, vocabulary."""
        return 1 + self.params.unknown_buckets + len(self.vocabulary)

    @property
    def first_char_gram(self) -> int:
        """Gram ids below it are words and runs of words, from it on runs of characters."""
        return 1 + int(np.searchsorted(self._kept, tx.word_buckets(self.params.buckets)))

    @property
    def first_across(self) -> int:
        """Gram ids from it on are runs of characters that go across a space."""
        buckets = self.params.buckets
        return 1 + int(np.searchsorted(self._kept, buckets if self.version == 1 else tx.inner_buckets(buckets)))

    def idf(self) -> NDArray[np.float32]:
        """Weight of each gram id, `log((1 + rows) / (1 + count)) + 1`, 0 for padding; float32, shape (gram ids,).

        Occurrences stand in for documents: in short texts a gram rarely occurs twice, and no pass over sorted pairs
        is needed.
        """
        frequency = np.minimum(self.counts[self._kept], self.rows).astype(np.float64)
        weights = np.log((1.0 + self.rows) / (1.0 + frequency)) + 1.0
        return np.concatenate(([0.0], weights)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """`grams` and `words` of each text, as `Ragged`."""
        parts = [self._encode_chunk(texts[i : i + CHUNK]) for i in range(0, max(len(texts), 1), CHUNK)]
        return {
            name: parts[0][name] if len(parts) == 1 else _concatenate([part[name] for part in parts])
            for name in ("grams", "words")
        }

    def _encode_chunk(self, texts: Sequence[str]) -> dict[str, Ragged]:
        characters = tx.normalise(texts, self.params.fold_accents)
        found = tx.words(characters)
        values, offsets = _grams(characters, found, self.params, self.version)
        ids = self._ids[values]
        kept = ids > 0
        position = np.concatenate(([0], np.cumsum(kept)))
        return {"grams": Ragged(ids[kept], position[offsets]), "words": self._word_ids(found)}

    def _word_ids(self, found: tx.Words) -> Ragged:
        lengths = np.diff(found.offsets)
        kept_lengths = np.minimum(lengths, self.params.max_words)
        within = np.arange(len(found.hashes)) - np.repeat(found.offsets[:-1], lengths)
        hashes = found.hashes[within < self.params.max_words]
        ids = tx.bucket(tx.mix(hashes, 99), 1, self.params.unknown_buckets + 1)
        if len(self.vocabulary):
            place = np.minimum(np.searchsorted(self._sorted_hashes, hashes), len(self._sorted_hashes) - 1)
            known = self._sorted_hashes[place] == hashes
            ids[known] = self._order[place[known]] + 1 + self.params.unknown_buckets
        return Ragged(ids, np.concatenate(([0], np.cumsum(kept_lengths))).astype(np.int64))

    def to_document(self) -> dict[str, Any]:
        """JSON: parameters, labels, vocabulary, and the bucket counts (uint32 little endian, zlib, base64)."""
        return {
            "recipe": "intents",
            "format": self.version,
            "params": self.params.model_dump(mode="json"),
            "labels": self.labels,
            "rows": self.rows,
            "vocabulary": self.vocabulary,
            "counts": base64.b64encode(zlib.compress(self.counts.astype("<u4").tobytes(), 9)).decode(),
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> IntentsEncoder:
        """The encoder that `to_document` described.

        Raises:
            CorruptArtifact: another recipe's document, a newer format, or a field that is missing or damaged.
        """
        if document.get("recipe") != "intents" or document.get("format") not in READABLE:
            raise CorruptArtifact(
                f"encoder.json: expected recipe 'intents' of format {FORMAT} or older, got "
                f"{document.get('recipe')!r} of format {document.get('format')!r}; encode the dataset "
                "with the Shipway that trains on it"
            )
        try:
            params = EncoderParams.model_validate(document["params"])
            counts = np.frombuffer(zlib.decompress(base64.b64decode(document["counts"])), dtype="<u4")
            if len(counts) != params.buckets:
                raise ValueError(f"{len(counts)} counts for {params.buckets} buckets")
            rows, version = int(document["rows"]), int(document["format"])
            return cls(params, document["labels"], counts.astype(np.uint32), rows, document["vocabulary"], version)
        except (KeyError, ValueError, TypeError, zlib.error) as error:
            raise CorruptArtifact(f"encoder.json: {type(error).__name__}: {error}; run prep again") from error


def fit(rows: Iterable[pl.DataFrame], params: EncoderParams) -> IntentsEncoder:
    """Counts n-grams, words and labels over a stream of frames with `text` and `label` columns.

    Raises:
        InvalidData: there are no rows.
    """
    counts = np.zeros(params.buckets, dtype=np.int64)
    labels: set[str] = set()
    total = 0
    vocabulary = _WordCounts()
    for frame in rows:
        labels.update(str(label) for label in frame["label"].unique().drop_nulls().to_list())
        texts = frame["text"].fill_null("").to_list()
        for i in range(0, len(texts), CHUNK):
            characters = tx.normalise(texts[i : i + CHUNK], params.fold_accents)
            found = tx.words(characters)
            values, _ = _grams(characters, found, params)
            counts += np.bincount(values, minlength=params.buckets)
            vocabulary.add(characters, found)
        total += len(texts)
    if not total:
        raise InvalidData("encode: the training split has no rows; an encoder needs some to fit on")
    bounded = np.minimum(counts, np.iinfo(np.uint32).max).astype(np.uint32)
    return IntentsEncoder(params, sorted(labels), bounded, total, vocabulary.most_common(params.vocabulary))


def _grams(
    characters: tx.Characters, found: tx.Words, params: EncoderParams, version: int = FORMAT
) -> tuple[tx.IntArray, tx.IntArray]:
    shortest, longest = params.char_ngrams_min, params.char_ngrams_max
    return tx.grams(characters, found, params.word_ngrams, shortest, longest, params.buckets, apart=version > 1)


def _concatenate(parts: Sequence[Ragged]) -> Ragged:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Ragged(np.concatenate([part.values for part in parts]), np.concatenate(([0], np.cumsum(lengths))))


class _WordCounts:
    """Counts words by hash, and spells each out once."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._spelled: dict[int, str] = {}

    def add(self, characters: tx.Characters, found: tx.Words) -> None:
        distinct, first, counts = np.unique(found.hashes, return_index=True, return_counts=True)
        for key, at, count in zip(distinct.tolist(), first.tolist(), counts.tolist(), strict=True):
            if key not in self._counts:
                codes = characters.codes[found.begins[at] : found.ends[at]].astype("<u4")
                self._spelled[key] = codes.tobytes().decode("utf-32-le", "replace")
            self._counts[key] = self._counts.get(key, 0) + count
        if len(self._counts) > MAX_COUNTED_WORDS:  # a stream without end must not fill the memory
            self._counts = {key: count for key, count in self._counts.items() if count > 1}
            self._spelled = {key: self._spelled[key] for key in self._counts}

    def most_common(self, limit: int) -> list[str]:
        """Words seen at least twice, most frequent first, equal counts by spelling."""
        often = [(-count, self._spelled[key]) for key, count in self._counts.items() if count > 1]
        return [word for _, word in sorted(often)[:limit]]
