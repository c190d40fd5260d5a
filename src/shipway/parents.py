"""Processes that do not outlive whoever started them."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shipway import locks

POLL_S = 0.2
END_GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: a child between fork and exec must not


def dies_with(parent: int, number: int = signal.SIGKILL) -> Callable[[], None]:
    """For `Popen(preexec_fn=)`: the kernel sends the child a signal when its parent dies, also before this was said.

    Args:
        parent: Id of the process that starts the child. The signal comes when the thread that starts it ends, so that
            one must wait for the child.
        number: The signal.
    """

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(128 + number)

    return prepare


def when_gone(act: Callable[[], object]) -> None:
    """Calls `act` in a thread once the parent of this process has ended, whichever of its threads started it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        act()

    threading.Thread(target=watch, daemon=True).start()


def end_with_lock(path: Path) -> None:
    """Stops this process once nobody holds the lock: a host holds it as long as it lives, however it dies."""
    with path.open() as file:
        while not locks.try_lock(file.fileno(), shared=True):
            time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_GRACE_S)
    os._exit(130)
