"""Detached processes by pid and start time: a reused pid is never mistaken for ours. Linux's /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

POLL_S = 0.02
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
    """TERM, then KILL after the grace; False when it was not there any more. Returns when it is gone."""
    if not is_same(pid, ticks):
        return False
    if grace_s > 0:
        _signal(pid, ticks, signal.SIGTERM)
        _wait_gone(pid, ticks, grace_s)
    _signal(pid, ticks, signal.SIGKILL)
    _wait_gone(pid, ticks, KILL_S)
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)  # ours, when the caller started it
    return True


def kill_owned(argument: str, grace_s: float) -> bool:
    """Ends this user's processes that were started with exactly this argument; True when there was one."""
    found = False
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            ticks = start_ticks(int(folder.name))
            if folder.stat().st_uid != os.getuid() or ticks is None:
                continue
            if argument.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found = end(int(folder.name), ticks, grace_s) or found
    return found


def _signal(pid: int, ticks: int, number: signal.Signals) -> None:
    """Through a pidfd, checked after it was opened: between check and kill a pid could pass to a stranger."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if is_same(pid, ticks):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _wait_gone(pid: int, ticks: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while is_same(pid, ticks) and time.monotonic() < deadline:
        time.sleep(POLL_S)
