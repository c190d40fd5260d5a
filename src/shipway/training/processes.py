"""What a process and its children use, read from /proc. Linux alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        with suppress(OSError):  # gone meanwhile
            for task in os.listdir(f"/proc/{one}/task"):
                with suppress(OSError):
                    children = Path(f"/proc/{one}/task/{task}/children").read_text(encoding="ascii")
                    waiting += map(int, children.split())
    return found


def used(pids: list[int]) -> tuple[float, int]:
    """Seconds of CPU, ended children's among them, and bytes of resident memory; shared pages count in each."""
    seconds, resident = 0.0, 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            # The name, second and in parentheses, may hold spaces and parentheses itself.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            seconds += sum(map(int, fields[11:15])) * TICK_S
            resident += int(fields[21]) * PAGE_BYTES
    return seconds, resident
