"""SIGTERM in a container."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable


def heed_sigterm() -> Callable[[], None]:
    """Lets SIGTERM end this process when it is a container's first one; elsewhere, nothing.

    Returns:
        What undoes it, for a server that drains instead.

    The kernel drops a signal that PID 1 has no handler for, so a replica that its operator deletes would go on until
    its grace period, 30 s by default, is over. A handler in Python is not enough: it waits for the main thread, which
    may sit in a collective whose peers are gone. The C-level handler writes to a pipe instead, and a thread reads it.
    Exit code 128 + the signal's number, as if the signal had killed it.
    """
    if os.getpid() != 1:
        return lambda: None
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def wait() -> None:
        number = os.read(reader, 1)[0]
        os._exit(128 + number)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)

    def undo() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return undo
