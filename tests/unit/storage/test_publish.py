"""The publish protocol: one winner per number, no A-B-A, and a reader always sees a whole version."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shipway.errors import Conflict, CorruptArtifact
from shipway.storage import Store
from shipway.storage.publish import (
    list_versions,
    move_pointer,
    publish_version,
    read_current,
    read_pointer,
    version_key,
)

LOOPS = int(os.environ.get("SHIPWAY_LOOPS", "20"))
ROUNDS = LOOPS // 5  # SeaweedFS lets rivals for one key wait for a second or more
WRITES = 5  # three files, the version, the pointer


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    return Store.open(request.getfixturevalue("store_uri" if request.param == "s3" else "local_store_uri"))


class Publisher:
    """`publisher.py`, asked to publish and to die."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("publisher.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture
def publisher(store: Store) -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.process.kill()
    publisher.process.wait()


def check_whole(store: Store) -> tuple[int, int]:
    """(current, highest): every published version has all its bytes, and the pointer names one of them."""
    numbers = list_versions(store, "models/bot")
    assert numbers == list(range(1, len(numbers) + 1))
    for number in numbers[-2:]:
        for key, sha256 in json.loads(store.get(version_key("models/bot", number)))["files"]:
            assert hashlib.sha256(store.get(key)).hexdigest() == sha256
    current = read_current(store, "models/bot")
    if current is None:
        return 0, len(numbers)
    assert current[1] == store.get(version_key("models/bot", current[0]))
    return current[0], len(numbers)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_write_a_publisher_leaves_the_previous_version_served(
    store: Store, publisher: Publisher, moment: str
) -> None:
    assert publisher(seed=0)["code"] == 0
    served = 1
    for write in range(1, WRITES + 1):
        assert publisher(seed=write, kill=[write, moment])["code"] == -9
        current, highest = check_whole(store)
        visible = (write, moment) == (WRITES, "after")  # only the pointer's own write shows the new version
        assert current == (highest if visible else served)
        assert publisher(seed=100 + write)["code"] == 0  # the next one is not in its way
        served, highest = check_whole(store)
        assert served == highest
    assert publisher(seed=200, kill=[WRITES + 1, "before"])["code"] == 0  # that were all its writes


@pytest.mark.soak
def test_killed_at_any_moment_a_publisher_never_shows_half_a_version(store: Store, publisher: Publisher) -> None:
    undisturbed = publisher(seed=0)["seconds"]
    rng = random.Random(7)
    served, kills = check_whole(store)[0], 0
    for loop in range(1, LOOPS + 1):
        kills += publisher(seed=loop, kill_after_s=rng.uniform(0, 1.2 * undisturbed))["code"] == -9
        current, _ = check_whole(store)
        assert current >= served
        served = current
    assert kills
    assert publisher(seed=LOOPS + 1)["code"] == 0
    current, highest = check_whole(store)
    assert current == highest


def test_a_reader_beside_many_publishers_sees_only_whole_versions_that_never_go_back(store: Store) -> None:
    def publish(seed: int) -> list[int]:
        found = []
        for turn in range(5):
            key = f"models/bot/content/{seed}-{turn}"
            data = os.urandom(1000)
            store.put(key, data)
            refs = [[key, hashlib.sha256(data).hexdigest()]]
            found.append(publish_version(store, "models/bot", json.dumps({"files": refs}).encode()))
        return found

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(publish, seed) for seed in range(4)]
        seen = 0
        while not all(each.done() for each in done):
            current, _ = check_whole(store)
            assert current >= seen
            seen = current
    numbers = [number for each in done for number in each.result()]
    assert sorted(numbers) == list(range(1, 21))
    assert check_whole(store) == (20, 20)


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
    store.put("bot/current.json", b'{"sequence": 1, "target": "x"}')
    with pytest.raises(CorruptArtifact, match="expected a version number"):
        read_current(store, "bot")
    assert read_pointer(store, "nothing") is None
    assert read_current(store, "nothing") is None
    assert list_versions(store, "nothing") == []
