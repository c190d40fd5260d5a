"""Pointers: one winner each round, and no A-B-A."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from shipway.errors import Conflict, CorruptArtifact
from shipway.storage import Store
from shipway.storage.pointers import (
    move_pointer,
    read_pointer,
)

LOOPS = int(os.environ.get("SHIPWAY_LOOPS", "20"))
ROUNDS = LOOPS // 5  # SeaweedFS lets rivals for one key wait for a second or more


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    return Store.open(request.getfixturevalue("store_uri" if request.param == "s3" else "local_store_uri"))


def test_a_pointer_moved_away_and_back_is_not_the_one_that_was_read(store: Store) -> None:
    first = move_pointer(store, "p", "a", expected=None)
    second = move_pointer(store, "p", "b", expected=first)
    third = move_pointer(store, "p", "a", expected=second)
    assert [first.sequence, second.sequence, third.sequence] == [1, 2, 3]
    with pytest.raises(Conflict):
        move_pointer(store, "p", "c", expected=first)
    assert read_pointer(store, "p") == third
    with pytest.raises(Conflict):
        move_pointer(store, "p", "c", expected=None)


def test_of_many_movers_one_wins_each_round(store: Store) -> None:
    pointer = move_pointer(store, "p", "0", expected=None)

    def move(target: int) -> bool:
        try:
            move_pointer(store, "p", str(target), expected=pointer)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        for _ in range(ROUNDS):
            assert sum(pool.map(move, range(4))) == 1
            found = read_pointer(store, "p")
            assert found is not None
            assert found.sequence == pointer.sequence + 1
            pointer = found


def test_of_many_creators_one_wins(store: Store) -> None:
    def create(round_number: int, who: int) -> bool:
        try:
            store.put(f"once/{round_number}", str(who).encode(), create=True)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        for round_number in range(ROUNDS):
            won = list(pool.map(lambda who, n=round_number: create(n, who), range(4)))
            assert sum(won) == 1
            assert store.get(f"once/{round_number}") == str(won.index(True)).encode()


def test_what_is_no_pointer_is_said(store: Store) -> None:
    store.put("p", b"hello")
    with pytest.raises(CorruptArtifact, match="p: not a pointer"):
        read_pointer(store, "p")
    assert read_pointer(store, "nothing") is None
