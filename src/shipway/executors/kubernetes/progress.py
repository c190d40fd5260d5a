"""Progress of replicas that share no disk with who waits: lines in the object store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from shipway.context import Context
from shipway.errors import ShipwayError
from shipway.executors.base import Event, Handle

LOOK_S = 3.0


class Progress:
    """Reads `jobs/<job>/progress/<replica>.jsonl`, each line once. Costs the API server nothing."""

    def __init__(self, context: Context, handle: Handle) -> None:
        self._context, self._handle = context, handle
        self._seen: dict[str, tuple[str, int]] = {}  # key -> ETag, number of the next line
        self._looked = 0.0

    def events(self, *, last: bool = False) -> Iterator[Event]:
        """What is new; nothing when it was asked a moment ago, unless it is the last look."""
        if not last and time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        from shipway.storage import Store

        try:
            store = Store.open(self._context.store_uri)
            for file in list(store.list(f"jobs/{self._handle.name}/progress/")):
                before, following = self._seen.get(file.key, ("", 0))
                if file.etag == before:
                    continue
                lines = store.get(file.key).decode("utf-8", "replace").splitlines()
                replica = file.key.rpartition("/")[2].removesuffix(".jsonl")
                for line in lines:
                    data = _read(line)
                    if data is None or int(data.get("line", following)) < following:
                        continue
                    following = int(data.pop("line", following)) + 1
                    yield Event(float(data.pop("at", time.time())), "progress", _message(replica, data),
                                {**data, "replica": replica})  # fmt: skip
                self._seen[file.key] = (str(file.etag), following)
        except ShipwayError:
            return  # a store that is away for a moment hides progress, not the outcome


def _read(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _message(replica: str, data: dict[str, Any]) -> str:
    shown = ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in data.items()
    )
    return f"{replica}: {shown}"
