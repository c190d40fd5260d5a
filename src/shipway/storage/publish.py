"""The publish protocol: content first, then `versions/N` create-only, then the pointer by compare-and-swap.

A crash at any point leaves the previous version served and nothing half-visible. Every pointer carries a sequence
number: an ETag is a content hash, so a pointer moved away and back would pass for never moved (A-B-A).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from shipway.errors import Conflict, CorruptArtifact
from shipway.storage.store import Store

ATTEMPTS = 64  # lost races; each one means that another writer made progress
CURRENT = "current.json"


@dataclass(frozen=True)
class Pointer:
    """Where a name points.

    Attributes:
        sequence: How often it was moved; 1 at first.
        target: What it points at: a key relative to the pointer's folder, a version number, what its owner likes.
        updated_at: ISO time of the last move, UTC.
        etag: Of the object that was read.
    """

    sequence: int
    target: str
    updated_at: str
    etag: str


def read_pointer(store: Store, key: str) -> Pointer | None:
    """The pointer at `key`, None when there is none.

    Raises:
        CorruptArtifact: something else stands there.
    """
    found = store.get_versioned(key)
    if found is None:
        return None
    try:
        raw = json.loads(found[0])
        return Pointer(int(raw["sequence"]), str(raw["target"]), str(raw.get("updated_at", "")), found[1])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{store.uri}/{key}: not a pointer (sequence, target); {error}") from error


def move_pointer(store: Store, key: str, target: str, *, expected: Pointer | None) -> Pointer:
    """Points `key` at `target`, if it still is as it was read.

    Args:
        store: Where.
        key: The pointer's key.
        target: What it shall point at.
        expected: What `read_pointer` gave, None for a pointer that is not there yet.

    Raises:
        Conflict: somebody moved it meanwhile; read it again.
    """
    sequence = expected.sequence + 1 if expected else 1
    updated_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    data = json.dumps({"sequence": sequence, "target": target, "updated_at": updated_at}, sort_keys=True).encode()
    info = store.compare_and_swap(key, data, expected.etag if expected else None)
    return Pointer(sequence, target, updated_at, info.etag)


def list_versions(store: Store, prefix: str) -> list[int]:
    """All published version numbers, ascending."""
    folder = f"{prefix.strip('/')}/versions"
    found = (re.fullmatch(r"([1-9]\d*)\.json", info.key.removeprefix(f"{folder}/")) for info in store.list(folder))
    return sorted(int(match.group(1)) for match in found if match)


def version_key(prefix: str, number: int) -> str:
    """Key of one version's manifest."""
    return f"{prefix.strip('/')}/versions/{number}.json"


def publish_version(store: Store, prefix: str, manifest: bytes) -> int:
    """Publishes a manifest, whose content must be in the store already, as the next version.

    Returns:
        The version's number: one more than the highest there was. `<prefix>/current.json` points at it, or at a
        higher one that another publisher brought meanwhile.
    """
    number = _claim(store, prefix, manifest)
    _advance(store, f"{prefix.strip('/')}/{CURRENT}", number)
    return number


def read_current(store: Store, prefix: str) -> tuple[int, bytes] | None:
    """The number and manifest that `current.json` points at; None before the first was published."""
    pointer = read_pointer(store, f"{prefix.strip('/')}/{CURRENT}")
    if pointer is None:
        return None
    return _number(pointer), store.get(version_key(prefix, _number(pointer)))


def _claim(store: Store, prefix: str, manifest: bytes) -> int:
    number = max(list_versions(store, prefix), default=0) + 1
    for _ in range(ATTEMPTS):
        try:
            store.put(version_key(prefix, number), manifest, create=True)
        except Conflict:
            number += 1
        else:
            return number
    raise Conflict(f"{store.uri}/{prefix}: {ATTEMPTS} publishers were faster; run again")


def _advance(store: Store, key: str, number: int) -> None:
    for _ in range(ATTEMPTS):
        pointer = read_pointer(store, key)
        if pointer is not None and _number(pointer) >= number:
            return
        try:
            move_pointer(store, key, str(number), expected=pointer)
        except Conflict:
            continue
        return
    raise Conflict(f"{store.uri}/{key}: {ATTEMPTS} writers were faster; run again")


def _number(pointer: Pointer) -> int:
    try:
        return int(pointer.target)
    except ValueError as error:
        raise CorruptArtifact(f"pointer target {pointer.target!r}: expected a version number") from error
