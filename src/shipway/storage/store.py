"""`Store`: the one door to object storage, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError

from shipway.artifacts import FileRef, Uri
from shipway.context import Context
from shipway.errors import CorruptArtifact, InvalidSpec, NotFound
from shipway.storage.arrival import arriving
from shipway.storage.base import Backend, Got, ObjectInfo, checked_key, is_reserved
from shipway.storage.local import LocalBackend

# Inside `Store` the name `list` is its method.
FileRefs = list[FileRef]
Gots = list[Got]

_URI: TypeAdapter[str] = TypeAdapter(Uri)

__all__ = ["ObjectInfo", "Store", "open_folder", "open_uri"]


class Store:
    """Objects below one root. Open with `Store.open`, `open_folder` or `open_uri`; safe to share between threads.

    Everywhere: `NotFound` for a missing object, `AccessDenied` for refused credentials, `StorageUnavailable` when
    nobody answers, `Conflict` for a lost conditional write, `StorageError` for the rest (a full disk, say).

    Attributes:
        uri: The root, `s3://bucket/prefix` or `file:///folder`.
    """

    def __init__(self, uri: str, backend: Backend, prefix: str) -> None:
        self.uri = uri
        self._backend = backend
        self._prefix = f"{prefix}/" if prefix else ""

    @classmethod
    def open(cls, uri: str | None = None) -> Store:
        """The store at `uri`, by default the one of the environment (`SHIPWAY_STORE`)."""
        return open_folder(uri if uri is not None else Context.current().store_uri)

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def get(self, key: str) -> bytes:
        """The whole object."""
        return self._backend.get(self._whole(key))[0]

    def get_many(self, keys: Iterable[str], most: int) -> Gots:
        """Small objects in parallel, in order: bytes, the size of one above `most` bytes, None for a missing one."""
        return self._backend.get_many([self._whole(key) for key in keys], most)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`; fewer at the object's end, none behind it."""
        if start < 0 or length < 0:
            raise InvalidSpec(
                f"range of {length} bytes from {start}; neither may be negative", field=f"{self.uri}/{key}"
            )
        return self._backend.get_range(self._whole(key), start, length)

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object, None when there is none."""
        info = self._backend.head(self._whole(key))
        return self._relative(info) if info else None

    def put(self, key: str, data: bytes, *, create: bool = False) -> ObjectInfo:
        """Writes a whole object at once; with `create` only where nothing stands (`Conflict` otherwise)."""
        whole = self._whole(key)
        return self._relative(self._backend.create(whole, data) if create else self._backend.put(whole, data))

    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        """The bytes and their ETag, for `compare_and_swap`; None when there is no such object."""
        try:
            return self._backend.get(self._whole(key))
        except NotFound:
            return None

    def compare_and_swap(self, key: str, data: bytes, expected: str | None) -> ObjectInfo:
        """Writes only over the version with ETag `expected` (None: only where nothing stands).

        On S3 an ETag is a content hash: data that must not pass for its own grandchild holds a sequence number.
        """
        whole = self._whole(key)
        if expected is None:
            return self._relative(self._backend.create(whole, data))
        return self._relative(self._backend.swap(whole, data, expected))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects below the folder `prefix`, by key."""
        folder = self._prefix + prefix
        for info in self._backend.walk(checked_key(folder.strip("/")) if folder.strip("/") else ""):
            if not is_reserved(info.key):
                yield self._relative(info)

    def delete(self, *keys: str) -> None:
        """Deletes objects; one that is gone already is no error."""
        if keys:
            self._backend.delete([self._whole(key) for key in keys])

    def upload(self, path: str | Path, key: str) -> FileRef:
        """Uploads a file (in parallel parts when it is big); the reference's `path` is the key."""
        size, sha256 = self._backend.upload(_readable(path), self._whole(key))
        return FileRef(path=key, size_bytes=size, sha256=sha256)

    def upload_many(self, files: Iterable[tuple[Path, str]]) -> FileRefs:
        """Uploads (file, key) pairs in parallel; references in the same order."""
        pairs = [(_readable(path), key) for path, key in files]
        done = self._backend.upload_many([(path, self._whole(key)) for path, key in pairs])
        return [FileRef(path=key, size_bytes=s, sha256=h) for (_, key), (s, h) in zip(pairs, done, strict=True)]

    def upload_folder(self, folder: str | Path, prefix: str) -> FileRefs:
        """Uploads all files below a folder; references relative to `prefix`, by path."""
        top = Path(folder)
        if not top.is_dir():
            raise NotFound("no such folder", field=top)
        paths = sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file())
        done = self.upload_many((top / path, f"{prefix.strip('/')}/{path}") for path in paths)
        return [ref.model_copy(update={"path": path}) for ref, path in zip(done, paths, strict=True)]

    def download(self, key: str, path: str | Path, *, sha256: str | None = None) -> None:
        """Downloads an object; the file appears whole and verified, or not at all (`CorruptArtifact`)."""
        with arriving([Path(path)]) as [temporary]:
            self._verify(key, self._backend.download(self._whole(key), temporary), sha256)

    def download_many(self, files: Iterable[tuple[str, Path, str | None]]) -> None:
        """Downloads (key, file, sha256 or None) triples in parallel, each verified."""
        triples = [(key, Path(path), sha256) for key, path, sha256 in files]
        with arriving([path for _, path, _ in triples]) as temporaries:
            pairs = [(self._whole(key), there) for (key, _, _), there in zip(triples, temporaries, strict=True)]
            for (key, _, sha256), got in zip(triples, self._backend.download_many(pairs), strict=True):
                self._verify(key, got, sha256)

    def download_folder(self, prefix: str, files: Iterable[FileRef], folder: str | Path) -> None:
        """Downloads referenced files below `prefix` into a folder, each verified."""
        top = prefix.strip("/")
        self.download_many(
            (f"{top}/{ref.path}" if top else ref.path, Path(folder, ref.path), ref.sha256) for ref in files
        )

    def _verify(self, key: str, got: str, expected: str | None) -> None:
        if expected is not None and got != expected:
            raise CorruptArtifact(
                f"{self.uri}/{key}: sha256 is {got[:12]}..., its manifest says {expected[:12]}...; "
                "the object was changed or damaged: run the step that wrote it again with --fresh"
            )

    def _whole(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _relative(self, info: ObjectInfo) -> ObjectInfo:
        if not self._prefix:
            return info
        return ObjectInfo(info.key.removeprefix(self._prefix), info.size_bytes, info.etag, info.modified)


def open_folder(uri: str) -> Store:
    """A store rooted at an `s3://bucket/prefix` or `file:///folder` URI.

    Raises:
        InvalidSpec: another scheme, a query string, a credential, or a path that escapes.
    """
    scheme, rest = _parts(uri)
    if scheme == "file":
        return Store(uri.rstrip("/"), LocalBackend(Path("/")), rest.strip("/"))
    from shipway.storage.s3 import S3Backend

    bucket, _, prefix = rest.partition("/")
    return Store(uri.rstrip("/"), S3Backend.open(bucket), prefix.strip("/"))


def open_uri(uri: str) -> tuple[Store, str]:
    """The store that holds an object's URI, and its key there."""
    scheme, rest = _parts(uri)
    if scheme == "file":
        return open_folder("file:///"), checked_key(rest.lstrip("/"))
    bucket, _, key = rest.partition("/")
    return open_folder(f"s3://{bucket}"), checked_key(key)


def _parts(uri: str) -> tuple[str, str]:
    """Scheme and the rest, checked by the same rule as the URIs inside artifacts."""
    try:
        _URI.validate_python(uri)
    except ValidationError as error:
        message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InvalidSpec(
            message, field="URI", given=uri, allowed="an address such as s3://shipway or file:///data"
        ) from error
    scheme, _, rest = uri.partition("://")
    if scheme == "file" and not rest.startswith("/"):
        raise InvalidSpec("a file URI has three slashes, file:///path", field=f"URI {uri!r}")
    if scheme == "s3" and not rest.split("/")[0]:
        raise InvalidSpec("names no bucket", field=f"URI {uri!r}", allowed="s3://bucket/key")
    return scheme, unquote(rest) if scheme == "file" and "%" in rest else rest


def _readable(path: str | Path) -> Path:
    source = Path(path)
    if not source.is_file():
        raise NotFound("no such file", field=source)
    return source
