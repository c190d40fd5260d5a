"""A file filled by parallel ranges: in whatever order they come, its hash is the whole's, or there is an error."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipway.errors import StorageError
from shipway.storage import ranged


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 3000), part=st.integers(1, 800), block=st.integers(1, 500), at_once=st.integers(1, 4),
)  # fmt: skip
def test_the_file_and_its_hash_are_those_of_the_object(
    tmp_path: Path, size: int, part: int, block: int, at_once: int
) -> None:
    data = os.urandom(size)

    def fetch(start: int, end: int, write: ranged.Write) -> None:
        for at in range(start, end, block):
            write(data[at : min(at + block, end)], at)

    assert ranged.download(tmp_path / "out", size, part, at_once, fetch) == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "out").read_bytes() == data


def test_parts_that_arrive_in_reverse_are_hashed_in_order(tmp_path: Path) -> None:
    data = os.urandom(300)
    arrived = [Event() for _ in range(4)]
    arrived[3].set()

    def fetch(start: int, end: int, write: ranged.Write) -> None:
        assert arrived[start // 100 + 1].wait(30)
        write(data[start:end], start)
        arrived[start // 100].set()

    assert ranged.download(tmp_path / "out", 300, 100, 3, fetch) == hashlib.sha256(data).hexdigest()


def test_a_range_that_ends_early_is_an_error(tmp_path: Path) -> None:
    def fetch(start: int, end: int, write: ranged.Write) -> None:
        write(bytes(end - start - 1), start)

    with pytest.raises(StorageError, match="bytes 0-100 ended at 99; run again"):
        ranged.download(tmp_path / "out", 100, 100, 1, fetch)


def test_one_failed_range_ends_the_others(tmp_path: Path) -> None:
    begun = Event()
    written: list[int] = []

    def fetch(start: int, end: int, write: ranged.Write) -> None:
        if start:
            assert begun.wait(30)
            raise StorageError("the second range is gone")
        for at in range(start, end):
            write(b"x", at)
            written.append(at)
            begun.set()

    with pytest.raises(StorageError, match="the second range is gone"):
        ranged.download(tmp_path / "out", 2_000_000, 1_000_000, 2, fetch)
    assert len(written) < 1_000_000
