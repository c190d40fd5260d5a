"""The supervisor of one endpoint: `python -m shipway.executors.process.endpoint <folder> <listening fd>`.

It keeps the listening socket and outlives the run that started it; it ends by `shipway down`, by a cancel, or when its
folder is removed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Leaves the caller's process tree, then looks after the endpoint until it is stopped."""
    folder, descriptor = Path(arguments[0]), int(arguments[1])
    if os.fork():
        return 0  # the caller waits for this one: what stays belongs to init, not to a step that is about to end
    os.setsid()
    from shipway.executors.process.service_supervisor import Supervisor

    listener = socket.socket(fileno=descriptor)
    listener.set_inheritable(True)
    asyncio.run(Supervisor(folder, listener).run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
