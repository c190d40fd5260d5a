"""Which sentence encoder an intents encoder asks beside its n-grams; nothing heavy is imported before it encodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from shipway.errors import InvalidSpec
from shipway.language.base import EncoderIdentity, as_stored
from shipway.language.reference import LICENCES, NONE, SHIPPED, USE_MULTILINGUAL

if TYPE_CHECKING:
    from shipway.language.base import SentenceEncoder

FIELD = "dataset.encoder.sentence_encoder"
AUTO = "auto"  # USE_MULTILINGUAL where it is installed and what it brings can be told, else none
# Of one inference: prep has a process for each core, and a predictor's container fewer cores than its machine. Where
# all of them were busy, sessions that took a thread for each core encoded a fifth to two thirds as many texts.
THREADS = 1


def settle(reference: str) -> tuple[str, str]:
    """`auto` as it holds where this runs, and what to say of it; another reference as it is."""
    if reference != AUTO:
        return reference, ""
    from shipway.language.opening import missing_package
    from shipway.language.tokenizing import EXTRA

    if package := missing_package(USE_MULTILINGUAL):
        return NONE, f"no sentence encoder: {package} is not installed here ({EXTRA})"
    return AUTO, f"sentence encoder: {USE_MULTILINGUAL}, kept where the eval split is answered better with it"


@dataclass(frozen=True)
class Sentences:
    """A sentence encoder as an intents encoder keeps it.

    Attributes:
        reference: Where it lies in object storage, with its hash: whoever serves the model needs no package for it.
        identity: What a model was trained with.
    """

    reference: str
    identity: EncoderIdentity

    @classmethod
    def of(cls, reference: str) -> Self | None:
        """The encoder that a settled parameter names, put into the store where Shipway ships it; None for `none`."""
        if reference == NONE:
            return None
        if reference == AUTO:
            reference = USE_MULTILINGUAL
        if reference in SHIPPED:
            from shipway.context import Context
            from shipway.language.shipped import shipped_folder
            from shipway.language.storing import upload

            reference = upload(*shipped_folder(), Context.current().uri("encoders"))
        return cls(reference, EncoderIdentity.of(_open(reference)))

    @property
    def told(self) -> str:
        """Name, width and digest, and the licence of a shipped one."""
        licence = f", {LICENCES[self.identity.name]}" if self.identity.name in LICENCES else ""
        return f"{self.identity.name}: {self.identity.width} numbers, digest {self.identity.digest[:12]}{licence}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (n, width).

        Raises:
            InvalidSpec: it is not the encoder that the model was trained with.
        """
        encoder = _open(self.reference)
        self.identity.check(encoder, FIELD)
        return encoder.encode(texts)

    def pack(self, texts: Sequence[str]) -> NDArray[np.object_]:
        """As shards hold them: the bytes of each row, float16 little endian, shape (n,).

        Raises:
            InvalidSpec: it is not the encoder that the model was trained with, or half precision ends before its
                numbers do.
        """
        with np.errstate(over="ignore"):
            stored = as_stored(self.encode(texts))
        if not np.isfinite(stored).all():
            raise InvalidSpec(
                f"{self.identity.name} gives numbers beyond {np.finfo(np.float16).max:,.0f}, and shards hold half "
                "precision",
                field=FIELD,
                fix="publish it with is_normalized=True",
            )
        packed = np.empty(len(texts), dtype=object)
        packed[:] = [row.tobytes() for row in stored.astype("<f2")]
        return packed

    def unpack(self, records: NDArray[np.object_]) -> NDArray[np.float32]:
        """float32 (n, width), of `pack`."""
        joined = np.frombuffer(b"".join(records.tolist()), dtype="<f2")
        return joined.reshape(len(records), self.identity.width).astype(np.float32)

    def to_document(self) -> dict[str, Any]:
        return {"reference": self.reference, **asdict(self.identity)}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """What `to_document` described.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or no such thing.
        """
        identity = EncoderIdentity(str(document["name"]), str(document["digest"]), int(document["width"]))
        return cls(str(document["reference"]), identity)


def _open(reference: str) -> SentenceEncoder:
    from shipway.language import open_encoder

    return open_encoder(reference, threads=THREADS, where=FIELD)
