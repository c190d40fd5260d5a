"""Files and folders that a function is given as data: known by their content, fetched where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shipway.canonical import fingerprint
from shipway.errors import NotFound


def data_fingerprint(data: Mapping[str, str]) -> str:
    """A cheap identity of what lies at the addresses: another one is another content. Empty for no data.

    A file of this machine counts by its bytes, those of a folder by name, size and time of change, objects by ETag.

    Args:
        data: Name -> path, or address of an object or a prefix.

    Raises:
        NotFound: nothing lies there.
    """
    return fingerprint([[name, _identity(name, uri)] for name, uri in sorted(data.items())]) if data else ""


def fetch(name: str, uri: str, folder: Path) -> Path:
    """A file or folder on this machine: where it lies, or below `folder`.

    Raises:
        NotFound: nothing lies there.
    """
    if "://" not in uri:
        return _here(name, uri)
    from shipway.storage import open_uri

    target = folder / name
    store, key = open_uri(uri)
    if store.head(key) is not None:
        path = target / key.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download(key, path)
        return path
    objects = _below(name, uri)
    store.download_many((each.key, target / each.key.removeprefix(f"{key.rstrip('/')}/"), None) for each in objects)
    return target


def _identity(name: str, uri: str) -> Any:
    if "://" not in uri:
        from shipway.storage.sources import file_identity
        from shipway.storage.trees import list_tree

        path = _here(name, uri)
        if path.is_file():
            return file_identity(path)
        return [[each.name, each.size_bytes, each.version] for each in list_tree(str(path))]
    from shipway.storage import open_uri

    store, key = open_uri(uri)
    info = store.head(key)
    objects = [info] if info is not None else _below(name, uri)
    return [[each.key, each.size_bytes, each.etag] for each in objects]


def _here(name: str, place: str) -> Path:
    path = Path(place)
    if not path.exists():
        raise NotFound(
            f"no file or folder {place!r} where the training runs",
            field=f"data.{name}",
            given=place,
            fix="give an s3:// address",
        )
    return path


def _below(name: str, uri: str) -> list[Any]:
    from shipway.storage import open_uri

    store, key = open_uri(uri)
    objects = list(store.list(f"{key.rstrip('/')}/"))
    if not objects:
        raise NotFound(f"nothing lies at {uri}", field=f"data.{name}")
    return objects
