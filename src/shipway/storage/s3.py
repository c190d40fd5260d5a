"""S3 as a store's backend, over obstore: big objects by parallel ranges, small ones by many requests at once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from shipway.errors import Conflict, NotFound, StorageError
from shipway.patience import Patience
from shipway.storage import ranged, trust
from shipway.storage.base import Got, ObjectInfo
from shipway.storage.credentials import s3_config
from shipway.storage.local import disk_error
from shipway.storage.parallel import gather, spread
from shipway.storage.s3_errors import LostRace, s3_errors, worth_another
from shipway.storage.server import S3Config

MIB = 1 << 20
PART = 16 * MIB  # of a multipart upload
PARTS_AT_ONCE = 4
RANGE = 32 * MIB  # of a ranged download
RANGES_AT_ONCE = min(4, os.cpu_count() or 2)
BLOCK = MIB  # of a range, on its way to the disk
BIG = 32 * MIB  # from here on an object travels in parts
REQUESTS = 32  # small objects at once
PATIENCE = Patience(attempts=3)  # with what obstore does not repeat by itself
WRITER = "shipway-writer"  # user metadata that tells our own write from a rival's

T = TypeVar("T")


_threads = {"running": False, "lost": False}  # obstore's, which a fork does not take along


def _after_fork() -> None:
    _threads["lost"] = _threads["running"]


os.register_at_fork(after_in_child=_after_fork)


@functools.lru_cache(maxsize=64)
def _connect(bucket: str, config: S3Config, patient: bool, authorities: str) -> Any:
    """A client; a patient one leaves a part time to travel, since the wait for the answer begins with the request.

    `authorities` are trusted beside the system's (PEM).
    """
    from obstore.store import S3Store

    _threads["running"] = True
    options: dict[str, Any] = {"region": config.region, "conditional_put": "etag"}
    if config.endpoint:
        options["endpoint"] = config.endpoint.rstrip("/")
        options["virtual_hosted_style_request"] = False
    if config.access_key:
        options["access_key_id"], options["secret_access_key"] = config.access_key, config.secret_key
        if config.token:
            options["session_token"] = config.token
    return S3Store(
        bucket,
        **options,
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=3),
            "read_timeout": timedelta(seconds=180 if patient else 15),
            "timeout": timedelta(seconds=600),  # of a whole part, up or down
            "pool_max_idle_per_host": "32",
            **({"root_certificate": authorities} if authorities else {}),
        },
        # obstore's ten retries make a call to a dead server hang for minutes.
        retry_config={
            "max_retries": 3,
            "retry_timeout": timedelta(seconds=180 if patient else 15),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 3},
        },
    )


class S3Backend:
    """One bucket. Keys are whole."""

    def __init__(self, bucket: str, config: S3Config) -> None:
        self.bucket = bucket
        self.config = config
        secure = not (config.endpoint or "").lower().startswith("http://")
        authorities = trust.authorities() if secure else ""
        self._store = _connect(bucket, config, False, authorities)
        self._patient = _connect(bucket, config, True, authorities)

    @classmethod
    def open(cls, bucket: str) -> S3Backend:
        """The bucket at the endpoint that the environment names."""
        return cls(bucket, s3_config())

    def get(self, key: str) -> tuple[bytes, str]:
        def fetch() -> tuple[bytes, str]:
            result = self._store.get(key)
            return bytes(result.bytes()), result.meta["e_tag"] or ""

        return self._read(key, fetch)

    def get_many(self, keys: list[str], most: int) -> list[Got]:
        """By threads: content that stays in memory costs half the CPU time of asynchronous requests."""

        def fetch(key: str) -> Got:
            try:
                return self._read(key, lambda: _at_most(self._store.get(key), most))
            except NotFound:
                return None

        return spread(fetch, keys, REQUESTS)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if length == 0:
            return b""
        info = self.head(key)
        if info is None:
            raise NotFound("no such object", field=f"s3://{self.bucket}/{key}")
        if start >= info.size_bytes:
            return b""
        return bytes(self._read(key, lambda: self._store.get_range(key, start=start, length=length)))

    def head(self, key: str) -> ObjectInfo | None:
        try:
            return _info(self._read(key, lambda: self._store.head(key)))
        except NotFound:
            return None

    def put(self, key: str, data: bytes) -> ObjectInfo:
        client = self._patient if len(data) > MIB else self._store
        result = self._again(key, lambda: client.put(key, data, use_multipart=len(data) > BIG))
        return self._written(key, data, result)

    def create(self, key: str, data: bytes) -> ObjectInfo:
        return self._conditional(key, data, "create", "exists already")

    def swap(self, key: str, data: bytes, etag: str) -> ObjectInfo:
        return self._conditional(key, data, {"e_tag": etag}, "has changed since it was read")

    def _conditional(self, key: str, data: bytes, mode: Any, why: str) -> ObjectInfo:
        """A write whose answer was lost is repeated and then meets itself: the metadata says whose write stands."""
        attributes = {WRITER: uuid.uuid4().hex}
        try:
            result = self._again(
                key, lambda: self._store.put(key, data, mode=mode, use_multipart=False, attributes=attributes)
            )
        except LostRace as error:
            standing = self._standing(key)
            if standing is not None and standing.attributes.get(WRITER) == attributes[WRITER]:
                return _info(standing.meta)
            why = why if standing is not None else "is gone"
            message = f"s3://{self.bucket}/{key}: {why}; another writer was first, read it again"
            raise Conflict(message) from error.__cause__
        return self._written(key, data, result)

    def _standing(self, key: str) -> Any:
        try:
            return self._read(key, lambda: self._store.get(key, options={"head": True}))
        except NotFound:
            return None

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        def fetch() -> list[ObjectInfo]:
            infos = [_info(meta) for chunk in self._store.list(prefix or None, chunk_size=1000) for meta in chunk]
            return sorted(infos, key=lambda info: info.key)

        yield from self._read(prefix, fetch)

    def delete(self, keys: list[str]) -> None:
        for start in range(0, len(keys), 1000):  # S3's limit for one request
            some = keys[start : start + 1000]
            with contextlib.suppress(NotFound):
                self._again(some[0], lambda some=some: self._store.delete(some))  # type: ignore[misc]

    def upload(self, path: Path, key: str) -> tuple[int, str]:
        size = path.stat().st_size
        if size < BIG:
            data = _read_file(path)
            self.put(key, data)
            return len(data), hashlib.sha256(data).hexdigest()
        with ThreadPoolExecutor(1) as pool:  # hashing costs a third of the upload's time: beside it, not before it
            digest = pool.submit(_hash_file, path)
            options = {"use_multipart": True, "chunk_size": _part(size), "max_concurrency": PARTS_AT_ONCE}
            self._again(key, lambda: self._patient.put(key, path, **options))
            return size, digest.result()

    def upload_many(self, files: list[tuple[Path, str]]) -> list[tuple[int, str]]:
        """By asynchronous requests, as `download_many`; bigger ones by threads, so that few are in memory at once."""
        return gather(self._upload_small, files, REQUESTS)

    async def _upload_small(self, pair: tuple[Path, str]) -> tuple[int, str]:
        path, key = pair
        if path.stat().st_size < MIB:
            data = _read_file(path)
            try:
                with self._errors(key):
                    await self._store.put_async(key, data, use_multipart=False)
                return len(data), hashlib.sha256(data).hexdigest()
            except StorageError as error:
                if not worth_another(error):
                    raise
        return await asyncio.to_thread(self.upload, path, key)

    def download(self, key: str, path: Path) -> str:
        info = self.head(key)
        if info is None:
            raise NotFound("no such object", field=f"s3://{self.bucket}/{key}")
        if info.size_bytes < BIG:
            return self._download_whole(key, path)
        return self._download_ranges(key, path, info)

    def download_many(self, files: list[tuple[str, Path]]) -> Iterator[str]:
        """By asynchronous requests: threads take twice the CPU for small objects."""
        yield from gather(self._download_small, files, REQUESTS)

    async def _download_small(self, pair: tuple[str, Path]) -> str:
        """One request where one is enough: the answer's header says how big the object is."""
        key, path = pair
        try:
            with self._errors(key):
                result = await self._store.get_async(key)
                size = result.meta["size"]
                if size < BIG:
                    data = await result.bytes_async()
                    if size < MIB:
                        return _write_file(path, data)
                    return await asyncio.to_thread(_write_file, path, data)  # beside the other requests
        except StorageError as error:
            if not worth_another(error):
                raise
        return await asyncio.to_thread(self.download, key, path)

    def _download_whole(self, key: str, path: Path) -> str:
        return _write_file(path, self.get(key)[0])

    def _download_ranges(self, key: str, path: Path, info: ObjectInfo) -> str:
        def fetch(start: int, end: int, write: ranged.Write) -> None:
            at = start

            def rest() -> None:  # a range that broke off is taken up where it was
                nonlocal at
                # If-Match: parts of two versions would make a file that never was.
                options = {"range": (at, end), "if_match": info.etag or None}
                for block in self._store.get(key, options=options).stream(min_chunk_size=BLOCK):
                    write(block, at)
                    at += len(block)

            self._read(key, rest)

        return ranged.download(path, info.size_bytes, RANGE, RANGES_AT_ONCE, fetch)

    def _read(self, key: str, fetch: Callable[[], T]) -> T:
        try:
            return self._again(key, fetch)
        except LostRace as error:
            raise StorageError(f"s3://{self.bucket}/{key}: was overwritten while it was read") from error.__cause__

    def _again(self, key: str, act: Callable[[], T]) -> T:
        """What may be done twice, done again where that helps."""
        tries = PATIENCE.tries()
        while True:
            try:
                with self._errors(key):
                    return act()
            except StorageError as error:
                if not worth_another(error) or not tries.again():
                    raise

    def _errors(self, key: str) -> Any:
        if _threads["lost"]:  # a request would wait for ever
            raise StorageError(
                f"s3://{self.bucket}/{key}: this process was forked after its parent had used object storage; "
                "start it with the `spawn` method, or fork first"
            )
        return s3_errors(f"s3://{self.bucket}/{key}", self.config.endpoint)

    def _written(self, key: str, data: bytes, result: Any) -> ObjectInfo:
        return ObjectInfo(key, len(data), result["e_tag"] or "", time.time())


def _at_most(result: Any, most: int) -> Got:
    size = int(result.meta["size"])
    return size if size > most else bytes(result.bytes())


def _info(meta: Any) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["e_tag"] or "", meta["last_modified"].timestamp())


def _part(size: int) -> int:
    """S3 takes at most 10,000 parts of an object."""
    return max(PART, -(-size // 9_000 // MIB) * MIB + MIB if size > 9_000 * PART else PART)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def _read_file(path: Path) -> bytes:
    with _disk(path):
        return path.read_bytes()


def _write_file(path: Path, data: Any) -> str:
    with _disk(path), open(path, "wb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def _hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
