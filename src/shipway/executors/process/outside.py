"""What a supervisor looks at beyond its replicas: its folder, requests, followers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shipway import locks
from shipway.executors.process.folder import JobFolder

ORPHAN_CHECK_S = 0.4


class Outside:
    """The supervisor's side of the job's folder.

    Args:
        folder: The job's.
        lock: Its `supervisor.lock`, open since before the supervisor was started: what tells this job's folder from
            that of a successor of the same name, made before the supervisor's first look or after it. Open, its inode
            is given to nobody else.
    """

    def __init__(self, folder: JobFolder, lock: int) -> None:
        self.folder = folder
        self._lock = lock
        self._request_seen = 0
        self._next_check = 0.0

    def is_ours(self) -> bool:
        """False when somebody deleted the folder, whether or not another job has taken its name since."""
        try:
            there = (self.folder / "supervisor.lock").stat()
            (self.folder / "state.json").stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(self._lock)
        return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)

    def request(self) -> dict[str, Any]:
        """What a follower asked for since the last call; empty for nothing."""
        try:
            changed = (self.folder / "control.json").stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if changed == self._request_seen:
            return {}
        self._request_seen = changed
        return self.folder.read("control.json") or {}

    @contextmanager
    def followers_gone(self) -> Iterator[bool]:
        """Whether nobody follows the job any more.

        True is said while the lock is held: whoever comes just now waits for it, and then reads in state.json what the
        body of the `with` wrote there. Asked often, it looks every 0.4 s.
        """
        now = time.monotonic()
        if now < self._next_check:
            yield False
            return
        self._next_check = now + ORPHAN_CHECK_S
        try:
            descriptor = os.open(self.folder / "followers.lock", os.O_RDWR)
        except FileNotFoundError:
            yield False
            return
        try:
            yield locks.try_lock(descriptor)
        finally:
            os.close(descriptor)
