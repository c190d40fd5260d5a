"""Buckets themselves, on a real server."""

from __future__ import annotations

import uuid

import pytest

from shipway.errors import StorageUnavailable
from shipway.storage import Store
from shipway.storage.buckets import ensure_bucket


@pytest.fixture
def bucket(store_uri: str) -> str:
    return f"b-{uuid.uuid4().hex[:8]}"


def test_a_bucket_is_made_once_and_asked_for_twice(bucket: str) -> None:
    ensure_bucket(bucket)
    ensure_bucket(f"s3://{bucket}/some/prefix")
    store = Store.open(f"s3://{bucket}")
    store.put("x", b"1")
    assert [info.key for info in store.list()] == ["x"]


def test_a_dead_server_is_unavailable(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageUnavailable, match="`shipway store start`"):
        ensure_bucket(bucket)
