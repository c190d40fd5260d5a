"""How a request brings an image: base64 in JSON, bytes of a V2 tensor, or an address that the endpoint allows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from shipway.inputs.base import BadRequest
from shipway.inputs.json_kinds import check_names, kind_of, shown

SCHEME = "s3://"
_FOR_ADDRESSES = str.maketrans("-_", "+/")  # RFC 4648 section 5, as some clients write it
EXPECTED = 'base64, {"b64": base64} or {"address": "s3://..."}'


def _prefix(value: str) -> str:
    bucket = value.removeprefix(SCHEME).split("/")[0]
    if not value.startswith(SCHEME) or not bucket:
        raise ValueError(f"{value!r} is no prefix of addresses; expected s3://bucket/folder/")
    if "/" not in value.removeprefix(SCHEME) or not value.endswith("/"):
        raise ValueError(f"{value!r} would allow what only begins like it; end it with /")
    return value


Prefix = Annotated[str, AfterValidator(_prefix)]


def read(instance: Any, where: str, limits: Any) -> bytes:
    """The file's bytes of one instance.

    Args:
        instance: As `EXPECTED` says, or bytes of a V2 tensor: a file's, or of an address.
        where: It stands in the request.
        limits: The endpoint's `Limits`.

    Raises:
        BadRequest: no base64, an address that is not allowed or not there, or too large.
    """
    if isinstance(instance, bytes):
        if instance.startswith(SCHEME.encode()):
            return _fetched(instance.decode(errors="replace"), where, limits)
        return _bounded(instance, where, limits)
    if isinstance(instance, str):
        return _from_text(instance, where, limits)
    if not isinstance(instance, Mapping):
        raise BadRequest(f"{where} must be {EXPECTED}, got {kind_of(instance)}")
    check_names(instance, ("b64", "address"), where)
    if len(instance) != 1:
        raise BadRequest(f"{where} must hold one of b64 and address")
    name, value = next(iter(instance.items()))
    if not isinstance(value, str):
        raise BadRequest(f"{where}.{name} must be a string, got {kind_of(value)}")
    return (_fetched if name == "address" else _decoded)(value, f"{where}.{name}", limits)


def _from_text(text: str, where: str, limits: Any) -> bytes:
    return (_fetched if text.startswith(SCHEME) else _decoded)(text, where, limits)


def _decoded(text: str, where: str, limits: Any) -> bytes:
    if len(text) > limits.max_bytes * 3 // 2 + 1024:  # line breaks of MIME among it
        raise BadRequest(f"{where}: the image is larger than the {limits.max_bytes:,} bytes that are allowed")
    text = text.partition(",")[2] if text.startswith("data:") else text
    try:
        data = base64.b64decode("".join(text.split()).translate(_FOR_ADDRESSES), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where} is not base64, got {shown(text)}; expected {EXPECTED}") from None
    return _bounded(data, where, limits)


def _bounded(data: bytes, where: str, limits: Any) -> bytes:
    if len(data) > limits.max_bytes:
        raise BadRequest(f"{where}: the image has {len(data):,} bytes, at most {limits.max_bytes:,} are allowed")
    return data


def _fetched(address: str, where: str, limits: Any) -> bytes:
    """The object of an allowed address."""
    from shipway.errors import AccessDenied, NotFound, StorageUnavailable
    from shipway.storage import open_uri

    given = shown(address)
    if not address.startswith(SCHEME):
        raise BadRequest(f"{where}: {given} is no s3:// address")
    if not any(address.startswith(prefix) for prefix in limits.allow_addresses) or ".." in address.split("/"):
        allowed = (
            f"allowed are addresses below {', '.join(limits.allow_addresses)}"
            if limits.allow_addresses
            else "no address is: send the image itself, or set endpoint.input.allow_addresses"
        )
        raise BadRequest(f"{where}: {given} is not allowed here; {allowed}")
    try:
        store, key = open_uri(address)
        info = store.head(key)
        if info is None:
            raise BadRequest(f"{where}: nothing stands at {given}")
        if info.size_bytes > limits.max_bytes:
            raise BadRequest(
                f"{where}: the image has {info.size_bytes:,} bytes, at most {limits.max_bytes:,} are allowed"
            )
        return store.get_range(key, 0, info.size_bytes) if info.size_bytes else b""
    except (AccessDenied, NotFound, StorageUnavailable) as error:
        raise BadRequest(f"{where}: {given} cannot be read: {error}") from None


def as_instance(data: bytes) -> str:
    """The JSON instance of a file's bytes."""
    return base64.b64encode(data).decode()


def from_line(line: str) -> Any:
    """The instance of a line: an address as it stands, or the file of this machine that it names.

    Raises:
        BadRequest: there is no such file.
    """
    line = line.strip()
    if line.startswith(SCHEME):
        return line
    path = Path(line).expanduser()
    try:
        data = path.read_bytes() if path.is_file() else None
    except (OSError, ValueError) as error:
        raise BadRequest(f"{line[:80]!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if data is None:
        raise BadRequest(f"{line[:80]!r}: no such file; expected the path of an image, or an s3:// address")
    return as_instance(data)
