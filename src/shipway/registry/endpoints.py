"""Which endpoint serves which version, as `deploy` recorded it; the registry only reads this."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shipway.errors import CorruptArtifact
from shipway.storage import Store


@dataclass(frozen=True)
class Endpoint:
    name: str
    model: str
    version: int | None


def endpoints(store: Store) -> Iterator[Endpoint]:
    """Every recorded endpoint.

    Raises:
        CorruptArtifact: a record cannot be read; garbage collection must not guess what it serves.
    """
    for info in store.list("endpoints/"):
        if not info.key.endswith(".json"):
            continue
        try:
            record = json.loads(store.get(info.key))
            yield _endpoint(info.key.rsplit("/", 1)[1].removesuffix(".json"), record)
        except (ValueError, AttributeError, TypeError) as error:
            raise CorruptArtifact(f"{info.key}: not an endpoint's record: {error}; deploy again") from error


def endpoints_of(store: Store, model: str) -> list[Endpoint]:
    """The endpoints of one model's name."""
    return [point for point in endpoints(store) if point.model == model]


def _endpoint(key: str, record: dict[str, Any]) -> Endpoint:
    version = record.get("version")
    name = str(record.get("name") or key)
    return Endpoint(
        name=name, model=str(record.get("model") or name), version=int(version) if version is not None else None
    )
