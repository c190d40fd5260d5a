"""Locks on files (flock(2)): one at a time, and who still lives.

A lock belongs to an open file and goes with its last descriptor, so that the kernel lets go of it however its holder
ends. A child that was given the descriptor holds it too. The file stays when the lock has gone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shipway import private


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until nobody else holds the file's lock, and holds it; the file and its folders are made."""
    private.make_folder(path.parent)
    descriptor = take(path)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """The same with the lock of a folder itself, which must be there: no file is left behind."""
    descriptor = take(folder, flags=os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield
    finally:
        os.close(descriptor)


def take(path: Path, *, shared: bool = False, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    """Waits for the lock; the descriptor that holds it until it is closed."""
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Takes the lock of an open file if that needs no waiting; False where somebody holds it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether somebody holds the file's lock alone; False where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
