"""Artifacts as objects: `<uri>/manifest.json` beside the bulk that they name."""

from __future__ import annotations

from typing import TypeVar

from shipway.artifacts import Artifact
from shipway.errors import CorruptArtifact, NotFound
from shipway.storage.store import ObjectInfo, open_uri

A = TypeVar("A", bound=Artifact)


def document_uri(uri: str) -> str:
    """The document's URI: a folder's is its `manifest.json`."""
    return uri if uri.endswith(".json") else f"{uri.rstrip('/')}/manifest.json"


def write_artifact(artifact: Artifact, uri: str) -> ObjectInfo:
    """Writes the document to object storage.

    Args:
        artifact: What to write.
        uri: Its own URI (`.../record.json`), or its folder's (then `manifest.json` in it).
    """
    store, key = open_uri(document_uri(uri))
    return store.put(key, artifact.to_json().encode())


def read_artifact(kind: type[A], uri: str) -> A:
    """Reads what `write_artifact` wrote.

    Raises:
        CorruptArtifact: it is gone, or not what it should be.
    """
    where = document_uri(uri)
    store, key = open_uri(where)
    try:
        return kind.from_json(store.get(key), where=where)
    except NotFound as error:
        raise CorruptArtifact(f"{where}: the {kind.KIND} is gone; run again with --fresh") from error
