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
        self._until_s = time.monotonic() + wait_s
        self._files: Any = {}
        self._token = ""  # of the start that was agreed on

    def agree(self, listed: Any) -> Any:
        """The chief's list, on every worker.

        Raises:
            RetryableError: the others did not come in time.
        """
        return self._lead(listed) if self.rank == 0 else self._follow()

    def end(self) -> None:
        """Says that this worker is done; all but the chief wait here for it to be.

        A worker that left would be missing where a chief that was killed begins anew.

        Raises:
            RetryableError: the chief has begun anew, and this worker must too.
        """
        if self.rank == 0:
            self._write("ended", {"token": self._token})
            return
        while self._read("ended").get("token") != self._token:
            if self._read("chief").get("token", self._token) != self._token:
                raise RetryableError("the chief has begun anew; ending to be started again")
            time.sleep(POLL_S)

    def _lead(self, listed: Any) -> Any:
        token = self._token = uuid.uuid4().hex
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
            agreed = self._read("agreed")
            if not token or agreed.get("token") != token:
                return False
            self._token, self._files = token, agreed["files"]
            return True

        self._until(is_agreed, "the chief")
        return self._files

    def _until(self, condition: Callable[[], bool], who: str) -> None:
        while not condition():
            if time.monotonic() > self._until_s:
                raise RetryableError(f"{who} did not come; ending to be started again")
            time.sleep(POLL_S)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            document = json.loads(self.store.get(f"starts/{name}.json"))
        except (NotFound, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def _write(self, name: str, document: dict[str, Any]) -> None:
        self.store.put(f"starts/{name}.json", json.dumps(document).encode())
