"""What takes space in a store, and the safe removal of what nobody refers to.

Who refers to what is the caller's knowledge (`shipway.registry` decides it for models, jobs and datasets).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from shipway.storage.base import RESERVED, ObjectInfo
from shipway.storage.store import Store

GRACE_S = 24 * 3600.0  # younger objects may belong to a publisher that has not written its manifest yet


@dataclass(frozen=True)
class Size:
    """What lies below one folder."""

    prefix: str
    objects: int
    size_bytes: int
    newest: float  # modification time, seconds since the epoch


def sizes(store: Store, prefix: str = "", depth: int = 1) -> list[Size]:
    """Sizes by folder, `depth` levels below `prefix`; biggest first.

    Objects that lie higher than that are counted under the folder they are in.
    """
    top = prefix.strip("/")
    found: dict[str, list[ObjectInfo]] = {}
    for info in store.list(top):
        parts = info.key.removeprefix(f"{top}/" if top else "").split("/")[:-1][:depth]
        found.setdefault("/".join([*([top] if top else []), *parts]), []).append(info)
    folders = [
        Size(folder, len(infos), sum(info.size_bytes for info in infos), max(info.modified for info in infos))
        for folder, infos in found.items()
    ]
    return sorted(folders, key=lambda size: (-size.size_bytes, size.prefix))


def collect(
    store: Store, prefix: str, protected: Collection[str], *, grace_s: float = GRACE_S, dry_run: bool = False
) -> list[ObjectInfo]:
    """Deletes the objects below `prefix` that are neither protected nor young.

    Args:
        store: Where.
        prefix: Only below this folder; "" is the whole store.
        protected: Keys, and folders with all that is below them.
        grace_s: What was modified within this time stays, whoever refers to it.
        dry_run: Only list.

    Returns:
        What was deleted, or would be. Documents (`.json`) come first: a reader never meets one without its bytes.
    """
    roots = {root.strip("/") for root in protected}
    oldest = time.time() - grace_s
    doomed = [info for info in store.list(prefix) if info.modified < oldest and not _is_below(info.key, roots)]
    doomed.sort(key=lambda info: (not info.key.endswith(".json"), info.key))
    if not dry_run:
        for documents in (True, False):
            store.delete(*(info.key for info in doomed if info.key.endswith(".json") is documents))
    return doomed


def remove_leftovers(store: Store, *, grace_s: float = GRACE_S) -> int:
    """Removes temporary files that killed writers left in a local store; on S3 the bucket's lifecycle does it.

    Returns:
        How many there were.
    """
    if not store.uri.startswith("file://"):
        return 0
    oldest, count = time.time() - grace_s, 0
    for path in Path(unquote(store.uri.removeprefix("file://"))).rglob(f"{RESERVED}*"):
        if path.is_file() and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
            count += 1
    return count


def _is_below(key: str, roots: set[str]) -> bool:
    """Whether the key or one of its folders is among the roots."""
    parts = key.split("/")
    return "" in roots or any("/".join(parts[:end]) in roots for end in range(1, len(parts) + 1))
