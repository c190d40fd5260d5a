"""The intents encoder: texts to n-gram buckets and word ids, and to a sentence encoder's vectors where one is asked.

Numpy only: the same code in prep and in the predictor.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import FeatureSpec
from shipway.errors import CorruptArtifact, InvalidData
from shipway.language.reference import NONE
from shipway.recipes.arrays import Encoded, Ragged
from shipway.recipes.intents import grams as gr
from shipway.recipes.intents import text as tx
from shipway.recipes.intents.limits import too_many_to_encode
from shipway.recipes.intents.params import EncoderParams
from shipway.recipes.intents.sentences import AUTO, Sentences
from shipway.recipes.intents.vocabulary import WordCounts

if TYPE_CHECKING:
    import polars as pl

FORMAT = 2  # of encoder.json and of the hash; a change of either is a new number
READABLE = (1, FORMAT)  # 1: runs of characters across a space had no buckets of their own


class IntentsEncoder:
    """Texts to `grams` (ids of hash buckets) and `words` (word ids); both count from 1, 0 is padding.

    With a sentence encoder also to `sentence`, its vector.

    Args:
        params: What was fitted.
        labels: Class names by id.
        counts: How often each bucket occurred in the training split, uint32, shape (buckets,).
        rows: Texts of the training split.
        vocabulary: Words with an id of their own, most frequent first.
        version: FORMAT of the hash that the counts are of.
        sentences: The sentence encoder, where there is one.
        left_out: Why there is none although the parameters leave it open.
    """

    def __init__(
        self,
        params: EncoderParams,
        labels: Sequence[str],
        counts: NDArray[np.uint32],
        rows: int,
        vocabulary: Sequence[str],
        version: int = FORMAT,
        sentences: Sentences | None = None,
        left_out: str = "",
    ) -> None:
        self.params, self.sentences, self.left_out = params, sentences, left_out
        self.version = version
        self.rows = rows
        self.counts = counts
        self.vocabulary = list(vocabulary)
        self._labels = list(labels)
        # Buckets that training saw are numbered without gaps: the model's table has no rows that nobody ever uses.
        kept = counts >= params.min_count
        kept[0] = False
        self._ids = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
        self._kept = np.flatnonzero(kept)
        hashes = np.array([gr.word_hash(word) for word in self.vocabulary], dtype=np.uint64)
        self._order = np.argsort(hashes)
        self._sorted_hashes = hashes[self._order]

    @property
    def labels(self) -> list[str]:
        """Class names; the position is the class id."""
        return self._labels

    @property
    def features(self) -> dict[str, FeatureSpec]:
        """`grams` and `words`, int64 of variable length; `sentence`, float32 (width,)."""
        features = {name: FeatureSpec(dtype="int64", shape=[None]) for name in ("grams", "words")}
        if self.sentences is not None:
            features["sentence"] = FeatureSpec(dtype="float32", shape=[self.sentences.identity.width])
        return features

    @property
    def facts(self) -> dict[str, str]:
        """Which sentence encoder, for the dataset's page."""
        if self.sentences is not None:
            return {"sentence encoder": self.sentences.told}
        return {"sentence encoder": f"none: {self.left_out}"} if self.left_out else {}

    @property
    def packed(self) -> dict[str, FeatureSpec]:
        """The text itself, UTF-8, and its vector: that takes as long as all else together, so it is made once."""
        names = ["text", *(["sentence"] if self.sentences is not None else [])]
        return {name: FeatureSpec(dtype="bytes", shape=[]) for name in names}

    def pack(self, texts: Sequence[str]) -> Encoded:
        """The bytes of the texts, and of their vectors, shape (n,)."""
        packed = np.empty(len(texts), dtype=object)
        packed[:] = [text.encode("utf-8", "surrogatepass") for text in texts]
        return {"text": packed, **({} if self.sentences is None else {"sentence": self.sentences.pack(texts)})}

    def unpack(self, records: Encoded, features: Collection[str]) -> Encoded:
        """As `encode` gives them; a vector's numbers in half precision."""
        texts = records["text"]
        assert not isinstance(texts, Ragged)
        of_text = [name for name in features if name != "sentence"]
        encoded = self._encoded([text.decode("utf-8", "surrogatepass") for text in texts.tolist()], of_text)
        if self.sentences is not None and "sentence" in features:
            vectors = records["sentence"]
            assert not isinstance(vectors, Ragged)
            encoded["sentence"] = self.sentences.unpack(vectors)
        return encoded

    def vectors(self, encoded: Encoded) -> NDArray[np.float32] | None:
        """The sentence encoder's, of what `pack` gave."""
        if self.sentences is None:
            return None
        records = encoded["sentence"]
        assert not isinstance(records, Ragged)
        return self.sentences.unpack(records)

    @property
    def encodes_long(self) -> bool:
        """A sentence encoder takes longer than all else that a predictor does for a text."""
        return self.sentences is not None

    @property
    def word_ids(self) -> int:
        """Size of the word id space: padding, unknown buckets, vocabulary."""
        return 1 + self.params.unknown_buckets + len(self.vocabulary)

    @property
    def first_char_gram(self) -> int:
        """Gram ids below it are words and runs of words, from it on runs of characters."""
        return 1 + int(np.searchsorted(self._kept, gr.word_buckets(self.params.buckets)))

    @property
    def first_across(self) -> int:
        """Gram ids from it on are runs of characters that go across a space."""
        buckets = self.params.buckets
        return 1 + int(np.searchsorted(self._kept, buckets if self.version == 1 else gr.inner_buckets(buckets)))

    def idf(self) -> NDArray[np.float32]:
        """Weight of each gram id, `log((1 + rows) / (1 + count)) + 1`, 0 for padding; float32, shape (gram ids,).

        Occurrences stand in for documents: in short texts a gram rarely occurs twice, and no pass over sorted pairs
        is needed.
        """
        frequency = np.minimum(self.counts[self._kept], self.rows).astype(np.float64)
        weights = np.log((1.0 + self.rows) / (1.0 + frequency)) + 1.0
        return np.concatenate(([0.0], weights)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """`grams` and `words` of each text, as `Ragged`, and its vector."""
        encoded = self._encoded(texts, ("grams", "words"))
        return encoded | ({} if self.sentences is None else {"sentence": self.sentences.encode(texts)})

    def _encoded(self, texts: Sequence[str], features: Collection[str]) -> Encoded:
        parts: dict[str, list[Ragged]] = {name: [] for name in features}
        for block in tx.blocks(texts):
            characters = tx.normalise(block, self.params.fold_accents)
            words = gr.words(characters)
            if "grams" in features:
                parts["grams"].append(self._gram_ids(characters, words))
            if "words" in features:
                parts["words"].append(self._word_ids(words))
        return {name: _concatenate(part) for name, part in parts.items()}

    def _gram_ids(self, characters: tx.Characters, words: gr.Words) -> Ragged:
        values, offsets = _grams(characters, words, self.params, self.version)
        ids = np.take(self._ids, values)
        if ids.all():
            return Ragged(ids, offsets)
        kept = ids > 0
        position = np.concatenate(([0], np.cumsum(kept)))
        return Ragged(ids[kept], position[offsets])

    def _word_ids(self, words: gr.Words) -> Ragged:
        lengths = np.diff(words.offsets)
        kept_lengths = np.minimum(lengths, self.params.max_words)
        within = np.arange(len(words.hashes)) - np.repeat(words.offsets[:-1], lengths)
        hashes = words.hashes[within < self.params.max_words]
        ids = gr.bucket(gr.mix(hashes, 99), 1, self.params.unknown_buckets + 1)
        if len(self.vocabulary):
            place = np.minimum(np.searchsorted(self._sorted_hashes, hashes), len(self._sorted_hashes) - 1)
            known = self._sorted_hashes[place] == hashes
            ids[known] = self._order[place[known]] + 1 + self.params.unknown_buckets
        return Ragged(ids, np.concatenate(([0], np.cumsum(kept_lengths))).astype(np.int64))

    def without_sentences(self) -> IntentsEncoder:
        """The same without a sentence encoder."""
        params = self.params.model_copy(update={"sentence_encoder": NONE})
        return IntentsEncoder(params, self.labels, self.counts, self.rows, self.vocabulary, self.version)

    def to_document(self) -> dict[str, Any]:
        """JSON: parameters, labels, vocabulary, and the bucket counts (uint32 little endian, zlib, base64)."""
        params, sentences = self.params.model_dump(mode="json"), {}
        if self.sentences is None:
            del params["sentence_encoder"]  # as it was written before there was any
        else:
            sentences = {"sentences": self.sentences.to_document()}
        return {
            "recipe": "intents",
            "format": self.version,
            "params": params,
            **sentences,
            "labels": self.labels,
            "rows": self.rows,
            "vocabulary": self.vocabulary,
            "counts": base64.b64encode(zlib.compress(self.counts.astype("<u4").tobytes(), 5)).decode(),
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
            params = EncoderParams.model_validate({"sentence_encoder": NONE} | document["params"])
            counts = np.frombuffer(zlib.decompress(base64.b64decode(document["counts"])), dtype="<u4")
            if len(counts) != params.buckets:
                raise ValueError(f"{len(counts)} counts for {params.buckets} buckets")
            rows, version = int(document["rows"]), int(document["format"])
            sentences = Sentences.from_document(document["sentences"]) if "sentences" in document else None
            return cls(
                params, document["labels"], counts.astype(np.uint32), rows, document["vocabulary"], version, sentences
            )
        except (KeyError, ValueError, TypeError, zlib.error) as error:
            raise CorruptArtifact(f"encoder.json: {type(error).__name__}: {error}; run prep again") from error


class Counts:
    """How often some texts hold each bucket, word and label: what an encoder is fitted from.

    Attributes:
        grams: int64, shape (buckets,).
    """

    def __init__(self, params: EncoderParams) -> None:
        self.params = params
        self.rows = 0
        self.labels: set[str] = set()
        self.grams = np.zeros(params.buckets, dtype=np.int64)
        self.words = WordCounts()

    def add(self, frame: pl.DataFrame) -> None:
        """Counts a frame with `text` and `label` columns."""
        self.labels.update(str(label) for label in frame["label"].unique().drop_nulls().to_list())
        for texts in tx.blocks(frame["text"].fill_null("").to_list()):
            characters = tx.normalise(texts, self.params.fold_accents)
            words = gr.words(characters)
            shortest, longest = self.params.char_ngrams_min, self.params.char_ngrams_max
            gr.count_grams(characters, words, self.params.word_ngrams, shortest, longest, self.grams)
            self.words.add(characters, words)
        self.rows += len(frame)

    def merge(self, other: Counts) -> None:
        """Adds what was counted of other rows."""
        self.rows += other.rows
        self.labels |= other.labels
        self.grams += other.grams
        self.words.merge(other.words)

    def encoder(self) -> IntentsEncoder:
        """Fitted on what was counted.

        Raises:
            InvalidData: there are no rows.
        """
        if not self.rows:
            raise InvalidData("the training split has no rows; an encoder needs some to fit on", field="encode")
        bounded = np.minimum(self.grams, np.iinfo(np.uint32).max).astype(np.uint32)
        vocabulary = self.words.most_common(self.params.vocabulary)
        reference, labels = self.params.sentence_encoder, sorted(self.labels)
        left_out = too_many_to_encode(self.rows, len(labels)) if reference == AUTO else ""
        sentences = None if left_out else Sentences.of(reference)
        return IntentsEncoder(self.params, labels, bounded, self.rows, vocabulary, FORMAT, sentences, left_out)


def _grams(
    characters: tx.Characters, words: gr.Words, params: EncoderParams, version: int
) -> tuple[tx.IntArray, tx.IntArray]:
    shortest, longest = params.char_ngrams_min, params.char_ngrams_max
    return gr.grams(characters, words, params.word_ngrams, shortest, longest, params.buckets, apart=version > 1)


def _concatenate(parts: Sequence[Ragged]) -> Ragged:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    values = np.concatenate([part.values for part in parts], dtype=np.int64)
    return Ragged(values, np.concatenate(([0], np.cumsum(lengths))))
