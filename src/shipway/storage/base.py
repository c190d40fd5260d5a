"""What a storage backend offers to `Store`, and the rules that keys follow in all of them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shipway.errors import InvalidSpec

# Names of our own inside a store (temporary files, health probes): never listed, never a user's key.
RESERVED = ".shipway-"


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a store.

    Attributes:
        key: Relative to the store's root.
        size_bytes: Its size.
        etag: Changes with every write of other content; equal content may have an equal one (S3).
        modified: Seconds since the epoch.
    """

    key: str
    size_bytes: int
    etag: str
    modified: float


Got = bytes | int | None  # content; of an object above a bound its size; None where there is none


class Backend(Protocol):
    """Keys here are whole: the store has put its prefix before them. Errors are those of `Store`."""

    def get(self, key: str) -> tuple[bytes, str]: ...
    def get_many(self, keys: list[str], most: int) -> list[Got]: ...
    def get_range(self, key: str, start: int, length: int) -> bytes: ...
    def head(self, key: str) -> ObjectInfo | None: ...
    def put(self, key: str, data: bytes) -> ObjectInfo: ...
    def create(self, key: str, data: bytes) -> ObjectInfo: ...
    def swap(self, key: str, data: bytes, etag: str) -> ObjectInfo: ...
    def walk(self, prefix: str) -> Iterator[ObjectInfo]: ...
    def delete(self, keys: list[str]) -> None: ...
    def upload(self, path: Path, key: str) -> tuple[int, str]: ...
    def download(self, key: str, path: Path) -> str: ...
    def upload_many(self, files: list[tuple[Path, str]]) -> list[tuple[int, str]]: ...
    def download_many(self, files: list[tuple[str, Path]]) -> Iterator[str]: ...


def checked_key(key: str) -> str:
    """The key, when it stays inside its store.

    Raises:
        InvalidSpec: empty, absolute, not normalised, or a name that Shipway keeps for itself.
    """
    if not key or key.startswith("/") or "\0" in key or "\\" in key or posixpath.normpath(key) != key:
        raise InvalidSpec(
            "must be a relative path without '..', '//' or a '/' at its ends", field=f"storage key {key!r}"
        )
    if key == "." or ".." in key.split("/"):
        raise InvalidSpec("escapes the store's root", field=f"storage key {key!r}")
    if any(part.startswith(RESERVED) for part in key.split("/")):
        raise InvalidSpec(
            f"names that begin with {RESERVED!r} are kept for Shipway", field=f"storage key {key!r}", given=RESERVED
        )
    return key


def is_reserved(key: str) -> bool:
    """Whether listings leave this key out."""
    return RESERVED in key and any(part.startswith(RESERVED) for part in key.split("/"))
