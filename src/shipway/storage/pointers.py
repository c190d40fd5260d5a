"""Pointers that are moved by compare-and-swap.

Each carries a sequence number: an ETag is a content hash, so a pointer moved away and back would pass for never moved
(A-B-A).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from shipway.errors import CorruptArtifact
from shipway.storage.store import Store


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
    versioned = store.get_versioned(key)
    if versioned is None:
        return None
    try:
        raw = json.loads(versioned[0])
        return Pointer(int(raw["sequence"]), str(raw["target"]), str(raw.get("updated_at", "")), versioned[1])
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
