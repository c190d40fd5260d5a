"""What keeps a job alive between `ensure` and the end of `follow`: this process's hold on it.

One per process and job, whichever executor object is asked; the kernel lets go when the process dies.
"""

from __future__ import annotations

import os
import threading

from shipway.executors.process.folder import JobFolder

_held: dict[str, int] = {}
_lock = threading.RLock()  # a step's signal handler cancels in the thread that may just be in here


def hold(folder: JobFolder) -> None:
    """Follows the job until `let_go`."""
    with _lock:
        held = _held.get(str(folder.path))
        if held is not None and not _is_of(held, folder):
            let_go(folder)  # of a deleted job that had this name before
            held = None
        if held is None:
            _held[str(folder.path)] = folder.lease()


def _is_of(descriptor: int, folder: JobFolder) -> bool:
    try:
        there = (folder / "followers.lock").stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_ino, ours.st_dev) == (there.st_ino, there.st_dev)


def let_go(folder: JobFolder) -> None:
    """Ends this process's hold; safe to call twice."""
    with _lock:
        descriptor = _held.pop(str(folder.path), None)
    if descriptor is not None:
        os.close(descriptor)
