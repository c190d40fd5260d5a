"""What a process's end says: which signal, who may have sent it, and its last words without a library's noise."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from shipway.errors import one_line

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_DISK = 74  # EX_IOERR: the host of a run could not write what it has to
_CGROUP = Path("/sys/fs/cgroup")
_TAIL_BYTES = 64 << 10
_PROBE_BYTES = 16 << 10
_OURS = re.compile(r"^error: (?P<words>\S.*)")
_TRACEBACK = "Traceback (most recent call last):"
# TensorFlow's and absl's lines, Python's logging as kfp and KServe set it up, kfp's executor.
_NOISE = re.compile(
    r"^(?:[IWEF]\d{4} \d|\d{4}-\d\d-\d\d[ T][\d:.,]+:? (?:[IWEF]|INFO|WARNING|DEBUG)\b|\d\d:\d\d:\d\d[.,]\d+ - |"
    r"(?:DEBUG|INFO|WARNING)\b|\[KFP Executor|WARNING: All log messages|To enable the following instructions|\s)"
)


def oom_kills() -> int:
    """How many processes the kernel has ended for want of memory: of this machine, or of this container alone."""
    kills = 0
    for path, key in (("/proc/vmstat", "oom_kill"), (_CGROUP / "memory.events", "oom_kill")):
        try:
            with open(path, encoding="ascii") as file:
                words = (line.split() for line in file)
                kills += next((int(word[1]) for word in words if word[0] == key), 0)
        except OSError:
            continue
    return kills


def how(returncode: int, oom_kills_before: int | None = None) -> str:
    """`exit code 3`, or the signal and who may have sent it.

    Args:
        returncode: As `Popen` has it; 128 + N, as a shell says it, is signal N too.
        oom_kills_before: Count at the process's start.
    """
    number = -returncode if returncode < 0 else returncode - 128 if returncode > 128 else 0
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"exit code {returncode}"
    told = f"killed by signal {number} ({name})"
    if number != signal.SIGKILL:
        return told
    if oom_kills_before is not None and oom_kills() > oom_kills_before:
        return f"{told}: out of memory, the kernel ended it; give it less to do at once, or the machine more memory"
    return f"{told}: by somebody's kill -9, or by the kernel or a container's limit for want of memory (see dmesg)"


def last_words(lines: Sequence[str]) -> str:
    """The one line of a log that says why its process ended: our own error, an exception, else the last that says
    anything; empty where there is none."""
    last_line = ""
    plain = ""
    is_traceback = False
    for line in lines:
        if match := _OURS.match(line):
            last_line, is_traceback = match["words"], False
        elif line.strip() == _TRACEBACK:
            is_traceback = True
        elif is_traceback and line[:1].strip() and not _NOISE.match(line):
            last_line, is_traceback = line.strip(), False
        elif re.search(r"[^\W_]", line) and not _NOISE.match(line):
            plain = line.strip()
    return one_line(last_line or plain)


def tail(path: Path) -> list[str]:
    """The last lines of a log; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk is full; a library's own kind of error says so in words alone."""
    words = (os.strerror(number) for number in FULL)
    return (isinstance(error, OSError) and error.errno in FULL) or any(word in str(error) for word in words)


def full_disk(folder: Path) -> str:
    """What to say where nothing can be written below a folder for want of space; empty where there is space."""
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    probe = there / f".space-{os.getpid()}"
    try:
        probe.write_bytes(b"\0" * _PROBE_BYTES)
    except OSError as error:
        return no_space(folder) if error.errno in FULL else ""
    finally:
        with suppress(OSError):
            probe.unlink()
    return ""


def no_space(folder: Path) -> str:
    """The line about a disk that is full."""
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free >> 20
    return f"no space left on the disk of {folder} ({free} MiB free); free some and run again"
