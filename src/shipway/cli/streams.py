"""Standard streams as a shell may leave them: closed (`>&-`), a pipe without a reader (`| head -1`), a full disk."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
from contextlib import suppress

BROKEN_PIPE = 128 + signal.SIGPIPE  # as a shell says it of `cat` or `grep`


def prepare() -> None:
    """Opens what was closed, so that no file of ours takes its number, and keeps to what a terminal can show."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows ? for a tick, not a traceback


def is_broken() -> bool:
    """Whether the reader of standard output or error has gone: a socket may break too, which is another error."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def finish(code: int) -> int:
    """Writes what is still held back; the process's exit code."""
    try:
        if code != BROKEN_PIPE:
            sys.stdout.flush()
            sys.stderr.flush()
            return code
    except BrokenPipeError:
        code = code or BROKEN_PIPE
    except OSError as error:
        with suppress(OSError):
            os.write(2, b"" if code else f"error: standard output: {error.strerror}; it is not whole\n".encode())
        code = code or 1
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # what is left in the buffers: Python would write it again at its end, and fail again
        os.dup2(nowhere, descriptor)
    return code
