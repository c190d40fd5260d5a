"""What this process may use of its machine: its container's limits where there are some. Linux alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def cpu_limit() -> float:
    """Cores at once."""
    cores = float(len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):  # no container, or no limit: "max"
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split())
        cores = min(cores, quota / period)
    return cores


def memory_limit() -> int:
    """Bytes."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return whole
