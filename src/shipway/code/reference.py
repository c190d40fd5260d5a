"""How code is named: an address in object storage with the hash of what lies there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from shipway.artifacts.base import Uri
from shipway.errors import InvalidSpec

ENDINGS = (".whl", ".zip")
MARK = "#sha256="
EXAMPLE = f"s3://bucket/code/mine-1.0-py3-none-any.whl{MARK}<64 hexadecimal digits>"
_URI: TypeAdapter[str] = TypeAdapter(Uri)


@dataclass(frozen=True)
class CodeRef:
    """Code in object storage.

    Attributes:
        uri: `s3://` or `file://` address of a wheel, or of a `.zip` of modules or of wheels.
        sha256: Of its bytes.
    """

    uri: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.uri}{MARK}{self.sha256}"

    @property
    def name(self) -> str:
        """The object's name."""
        return self.uri.rpartition("/")[2]

    @classmethod
    def parse(cls, text: str, where: str = "code") -> Self:
        """The code that an address with a hash names.

        Raises:
            InvalidSpec: no address, no hash, or neither a wheel nor a `.zip`.
        """
        uri, mark, digest = text.partition(MARK)
        check_address(uri, where)
        if not uri.endswith(ENDINGS):
            raise InvalidSpec(f"{uri!r} is neither a wheel (.whl) nor a .zip", field=where, given=uri, allowed=EXAMPLE)
        if not mark:
            raise InvalidSpec(
                f"{uri!r} says no hash, so that nobody knows whose code would run",
                field=where,
                given=uri,
                allowed=f"{EXAMPLE} (`shipway run train_and_deploy` looks the hash up by itself",
                fix="`sha256sum` prints it)",
            )
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise InvalidSpec(
                f"{digest!r} is no sha256", field=where, given=digest, allowed=f"64 hexadecimal digits behind {MARK}"
            )
        return cls(uri, digest)


def check_address(uri: str, where: str = "code") -> None:
    """Refuses what is no address in object storage.

    Raises:
        InvalidSpec: another scheme, or a credential in it.
    """
    try:
        _URI.validate_python(uri)
    except ValidationError as error:
        told = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InvalidSpec(told, field=where, allowed=EXAMPLE) from error


def _pinned(text: str) -> str:
    if text:
        try:
            CodeRef.parse(text)
        except InvalidSpec as error:
            raise ValueError(str(error).removeprefix("code: ")) from error
    return text


# A field of a spec: empty, or an address with its hash.
Code = Annotated[
    str,
    AfterValidator(_pinned),
    Field(description=f"your own code, installed at start: ADDRESS{MARK}HASH of a wheel or a .zip; empty: none"),
]
