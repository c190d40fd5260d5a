"""What a sentence encoder is to those who use one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shipway.errors import InvalidSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


class SentenceEncoder(Protocol):
    """A frozen model that gives each text a vector. Several threads may ask one at a time.

    Attributes:
        name: What a person calls it, `use-multilingual-3`.
        digest: sha256 over all that decides its vectors: weights, tokenizer and how the two are put together.
        width: Numbers of a vector.
        languages: Those that it was trained on, as BCP 47 tags; empty where nobody said.
    """

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def languages(self) -> tuple[str, ...]: ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The texts' vectors, float32 (n, width), each independent of the texts beside it but for rounding.

        An empty text has a vector too. What lies behind an encoder's last token is not read.

        Raises:
            InvalidData: one of them is no text; names which.
            CorruptArtifact: the model gives something else than its description says.
        """
        ...


@dataclass(frozen=True)
class EncoderIdentity:
    """Which encoder a model was trained with: kept with the model, and checked where it is served."""

    name: str
    digest: str
    width: int

    @classmethod
    def of(cls, encoder: SentenceEncoder) -> EncoderIdentity:
        return cls(encoder.name, encoder.digest, encoder.width)

    def check(self, encoder: SentenceEncoder, where: str = "sentence_encoder") -> None:
        """Refuses an encoder that the model was not trained with.

        Raises:
            InvalidSpec: its width or its digest differs.
        """
        given = EncoderIdentity.of(encoder)
        if (given.width, given.digest) == (self.width, self.digest):
            return
        raise InvalidSpec(
            f"the model was trained with {self._told()}, and this is {given._told()}",
            field=where,
            fix=f"give back the encoder that it was trained with, or train again with {given.name}",
        )

    def _told(self) -> str:
        return f"{self.name} ({self.width} numbers, digest {self.digest[:12]})"


def as_stored(vectors: Vectors) -> NDArray[np.float16]:
    """Vectors as shards keep them, float16; what is not read from a shard is not rounded
    (docs/decisions/0171-vectors-beside-n-grams.md)."""
    import numpy as np

    return vectors.astype(np.float16)


def check_languages(encoder: SentenceEncoder, languages: Iterable[str], where: str = "languages") -> None:
    """Refuses languages that the encoder was not trained on; one that says none is taken at no word.

    Args:
        encoder: The encoder.
        languages: BCP 47 tags; of `de-CH` the encoder may have `de`.
        where: The field, for messages.

    Raises:
        InvalidSpec: names the first that it lacks, and those that it has.
    """
    known = encoder.languages
    for language in languages if known else ():
        if not {language.lower(), language.lower().partition("-")[0]} & {each.lower() for each in known}:
            raise InvalidSpec(
                f"{encoder.name} was not trained on {language!r}",
                field=where,
                given=language,
                allowed=known,
                fix="leave the encoder out (none), or give one of your own that knows the language",
            )
