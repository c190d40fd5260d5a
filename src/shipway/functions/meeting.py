"""Workers of one start agree on what they begin with, through the store: they share nothing else."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from shipway.errors import NotFound, RetryableError
from shipway.storage import Store

WAIT_S, POLL_S = 600.0, 0.2  # as long as a training may go without a step


class Meeting:
    """One worker's part in it.

    A worker that begins anew while the chief goes on finds what that chief began with; a chief that begins anew has a
    new token, and the workers that it waits for are those that have answered it.
    """

    def __init__(self, store: Store, rank: int, workers: int, wait_s: float = WAIT_S) -> None:
        self.store, self.rank, self.workers = store, rank, workers
        self._end = time.monotonic() + wait_s

    def agree(self, listed: Any) -> Any:
        """The chief's list, on every worker.

        Raises:
            RetryableError: the others did not come in time.
        """
        return self._lead(listed) if self.rank == 0 else self._follow()

    def _lead(self, listed: Any) -> Any:
        token = uuid.uuid4().hex
        self._write("chief", {"token": token})
        for rank in range(1, self.workers):
            self._until(lambda rank=rank: self._read(f"{rank}").get("token") == token, f"worker {rank}")  # type: ignore[misc]
        self._write("agreed", {"token": token, "files": listed})
        return listed

    def _follow(self) -> Any:
        answered = ""

        def is_agreed() -> bool:
            nonlocal answered
            token = self._read("chief").get("token", "")
            if token and token != answered:
                self._write(f"{self.rank}", {"token": token})
                answered = token
            return bool(token) and self._read("agreed").get("token") == token

        self._until(is_agreed, "the chief")
        return self._read("agreed")["files"]

    def _until(self, condition: Callable[[], bool], who: str) -> None:
        while not condition():
            if time.monotonic() > self._end:
                raise RetryableError(f"{who} did not come; ending to be started again")
            time.sleep(POLL_S)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads(self.store.get(f"starts/{name}.json"))
        except (NotFound, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, document: dict[str, Any]) -> None:
        self.store.put(f"starts/{name}.json", json.dumps(document).encode())
