"""How an encoder is named: `none`, one that is shipped, or the address of one of your own with its hash."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import TypeAdapter, ValidationError

from shipway.artifacts.base import Uri
from shipway.errors import InvalidSpec

NONE = "none"
USE_MULTILINGUAL = "use-multilingual-3"
SHIPPED = (USE_MULTILINGUAL,)
LICENCES = {USE_MULTILINGUAL: "Apache-2.0"}  # of their weights
MARK = "#sha256="
EXAMPLE = f"s3://bucket/mine/encoder.json{MARK}<64 hexadecimal digits>"
_URI: TypeAdapter[str] = TypeAdapter(Uri)


@dataclass(frozen=True)
class EncoderRef:
    """An encoder's description in object storage; its hash pins all the rest, which the description names by hash."""

    uri: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.uri}{MARK}{self.sha256}"

    @classmethod
    def parse(cls, text: str, where: str = "sentence_encoder") -> Self:
        """The address and the hash.

        Raises:
            InvalidSpec: it is no address in object storage, or lacks its hash.
        """
        uri, _, digest = text.partition(MARK)
        try:
            _URI.validate_python(uri)
        except ValidationError as error:
            told = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            raise InvalidSpec(told, field=where, allowed=EXAMPLE) from error
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise InvalidSpec(
                f"{text!r} does not say which encoder lies there",
                field=where,
                given=text,
                allowed=EXAMPLE,
                fix="shipway.language.publish prints it",
            )
        return cls(uri, digest)


def check_reference(text: str, where: str = "sentence_encoder", beside: Sequence[str] = ()) -> str:
    """The text, where it names an encoder or `none`: what a spec's field is checked by, with nothing opened.

    Args:
        text: As a person gave it.
        where: The field, for messages.
        beside: Words that the field takes too, for messages.

    Raises:
        InvalidSpec: an unknown name, or an address without its hash.
    """
    if "://" in text:
        EncoderRef.parse(text, where)
    elif text not in (NONE, *SHIPPED):
        raise InvalidSpec(
            "no such sentence encoder",
            field=where,
            given=text,
            allowed=(*beside, NONE, *SHIPPED),
            fix=f"or give {EXAMPLE}",
        )
    return text
