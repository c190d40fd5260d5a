"""Finds and ends processes by a token in their environment: those whose parent can no longer be asked."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

TOKEN = "SHIPWAY_JOB_UID"


def scratch(uid: str) -> Path:
    """A job's folder outside its own, for what needs short paths; whoever ends the job's processes clears it."""
    return Path(tempfile.gettempdir()) / f"shipway-mpi-{uid}"


def shared_memory(uid: str) -> Path:
    """Where a job's ranks on this machine exchange messages; gone with the job, however `mpirun` ended."""
    return Path("/dev/shm") / f"shipway-mpi-{uid}"


def clear(uid: str) -> None:
    """Removes what a job leaves outside its own folder."""
    for folder in (scratch(uid), shared_memory(uid)):
        shutil.rmtree(folder, ignore_errors=True)


def find(uid: str, replica: str | None = None) -> list[int]:
    """Process ids (never our own) of a job, or of one of its replicas; zombies don't count."""
    needles = [f"{TOKEN}={uid}".encode()]
    if replica is not None:
        needles.append(f"SHIPWAY_REPLICA={replica}".encode())
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:  # gone, or somebody else's
            continue
        if all(needle in variables for needle in needles):  # a zombie's environment reads as empty
            pids.append(int(name))
    return pids


def end(uid: str, replica: str | None = None, rounds: int = 50) -> int:
    """Kills them until none is left, since one may fork while it is being looked for; how many there were."""
    ended: set[int] = set()
    for _ in range(rounds):
        alive = find(uid, replica)
        if not alive:
            break
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        ended.update(alive)
        time.sleep(0.01)
    return len(ended)
