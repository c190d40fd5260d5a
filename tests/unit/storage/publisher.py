"""Publishes and is killed: one child per line of standard input, forked before obstore starts its threads.

A line is `{"seed": n, "kill": [write, "before" | "after"] | null, "kill_after_s": seconds | null}`; the answer is
`{"status": ..., "writes": ...}`, the writes counted in a pipe that the child shares.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from typing import Any

from shipway.storage import Store
from shipway.storage.publish import publish_version

FILES = 3


def content(seed: int, number: int) -> bytes:
    """Bytes of one file; the last is big enough that a kill meets it half-way."""
    return random.Random(f"{seed}/{number}").randbytes(2_000_000 if number == FILES - 1 else 20_000)


def publish(store: Store, seed: int) -> int:
    """Content first, then the version, then the pointer."""
    refs = []
    for number in range(FILES):
        data = content(seed, number)
        key = f"models/bot/content/{seed}/{number}"
        store.put(key, data)
        refs.append([key, hashlib.sha256(data).hexdigest()])
    return publish_version(store, "models/bot", json.dumps({"seed": seed, "files": refs}).encode())


def kill_at(store: Store, where: list[Any] | None) -> None:
    """Ends this process with SIGKILL right before or right after its n-th write."""
    backend: Any = store._backend
    count = 0

    def wrapped(write: Any) -> Any:
        def act(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if where == [count, "before"]:
                os.kill(os.getpid(), signal.SIGKILL)
            done = write(*arguments)
            if where == [count, "after"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return act

    for name in ("put", "create", "swap"):
        setattr(backend, name, wrapped(getattr(backend, name)))


def child(command: dict[str, Any]) -> None:
    store = Store.open()
    kill_at(store, command.get("kill"))
    if command.get("kill_after_s") is not None:

        def kill() -> None:
            time.sleep(command["kill_after_s"])
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
    publish(store, command["seed"])


def main() -> None:
    for line in sys.stdin:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                child(json.loads(line))
            except BaseException as error:  # noqa: BLE001 - the fork must never return into the loop
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status)
        code = -os.WTERMSIG(status) if killed else os.WEXITSTATUS(status)
        print(json.dumps({"code": code, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
