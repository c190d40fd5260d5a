"""SIGTERM in a container."""

from __future__ import annotations

import os
import signal

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def heed_sigterm(within_s: float | None = None) -> None:
    """Lets SIGTERM end this process although it is a container's first one; elsewhere, nothing.

    The kernel drops a signal that PID 1 has no handler for, so a replica that its operator deletes would go on until
    its grace period, 30 s by default, is over. A handler in Python would wait for the interpreter's lock, which
    TensorFlow keeps while it waits for peers. So PID 1 stays behind here, passes signals on, and ends as its child
    does; what returns from this call is the child. Call it before any library starts threads: they don't survive.

    Args:
        within_s: Kill the child when it has not ended so long after SIGTERM: TensorFlow's cluster has a handler of its
            own that only takes note. None: never, for a server that drains.
    """
    if os.getpid() != 1:
        return
    heard = {*PASSED_ON, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    child = os.fork()
    if child:
        _stay_behind(child, heard, within_s)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)


def _stay_behind(child: int, heard: set[signal.Signals], within_s: float | None) -> None:
    told = False
    while True:
        caught = signal.sigtimedwait(heard, within_s) if told and within_s else signal.sigwaitinfo(heard)
        if caught is None:
            os.kill(child, signal.SIGKILL)
            os._exit(128 + signal.SIGTERM)
        if caught.si_signo in PASSED_ON:
            os.kill(child, caught.si_signo)
            told = told or caught.si_signo == signal.SIGTERM
        _reap(child)


def _reap(child: int) -> None:
    """Ends as the child did; other orphans are PID 1's too."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
