"""Detached processes by pid and start time: a reused pid is never mistaken for ours. Linux's /proc."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from shipway.errors import StorageError

KILL_S = 10.0


def start_ticks(pid: int) -> int | None:
    """When the process was started (clock ticks since boot, proc(5) field 22); None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def is_same(pid: int, ticks: int) -> bool:
    """Whether the very process that was recorded still runs."""
    return ticks != 0 and start_ticks(pid) == ticks


def age_s(ticks: int) -> float:
    """Seconds since a process with these ticks was started."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


def end(pid: int, ticks: int, grace_s: float) -> bool:
    """TERM, then KILL after the grace; False when it was not there any more. Returns when it is gone.

    Raises:
        StorageError: it does not go.

    Through a pidfd: between a check and a kill by number the pid could pass to a stranger. And it tells the end of all
    threads, where /proc already calls the process a zombie while some of them still hold its ports.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return False
    try:
        if not is_same(pid, ticks):
            return False
        for number, seconds in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
            if seconds > 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
                if select.select([descriptor], [], [], seconds)[0]:
                    break
        else:
            raise StorageError(f"process {pid} does not end, {KILL_S:g} s after it was killed; look: ps -p {pid}")
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)  # ours, when the caller started it
    return True


def kill_owned(argument: str, grace_s: float) -> list[list[str]]:
    """Ends this user's processes that were started with exactly this argument; their command lines."""
    ended = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            ticks = start_ticks(int(folder.name))
            if folder.stat().st_uid != os.getuid() or ticks is None:
                continue
            command = os.fsdecode((folder / "cmdline").read_bytes()).split("\0")
            if argument in command and end(int(folder.name), ticks, grace_s):
                ended.append(command)
    return ended
