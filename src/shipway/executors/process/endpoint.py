"""An endpoint's supervisor and its keeper: `python -m shipway.executors.process.endpoint <folder> <listening fd>`.

They keep the listening socket and outlive the run that started them; they end by `shipway down`, by a cancel, or when
the endpoint's folder is removed. A supervisor that dies any other way is started again by its keeper, and takes over
the predictor that serves. Both hold the writing end of a pipe: with the last of them the kernel asks the predictors to
end (`lifeline`), so that nothing serves that nobody looks after.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

QUICK_DEATH_S = 10.0
MAX_DELAY_S = 10.0


def main(arguments: list[str]) -> int:
    """Leaves the caller's process tree, then looks after the endpoint until it is stopped."""
    folder, descriptor = Path(arguments[0]), int(arguments[1])
    if os.fork():
        return 0  # the caller waits for this one: what stays belongs to init, not to a step that is about to end
    os.setsid()
    lifeline, _writing = os.pipe2(os.O_CLOEXEC)
    quick = 0
    while True:
        began = time.monotonic()
        supervisor = os.fork()
        if supervisor == 0:
            return _supervise(folder, descriptor, lifeline)
        code = _keep(supervisor)
        if code == 0 or not folder.is_dir():
            return 0
        quick = quick + 1 if time.monotonic() - began < QUICK_DEATH_S else 0
        print(f"keeper: the supervisor ended ({code}); the next one takes over", flush=True)
        time.sleep(min(MAX_DELAY_S, 0.1 * 2.0 ** (quick - 1)) if quick else 0.0)


def _keep(supervisor: int) -> int:
    """How the supervisor ended, as `Popen` says it; a request to end is its to carry out."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: os.kill(supervisor, number))
    _, status = os.waitpid(supervisor, 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    return os.waitstatus_to_exitcode(status)


def _supervise(folder: Path, descriptor: int, lifeline: int) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    from shipway.executors.process.service_supervisor import Supervisor

    listener = socket.socket(fileno=descriptor)
    listener.set_inheritable(True)
    asyncio.run(Supervisor(folder, listener, lifeline).run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
