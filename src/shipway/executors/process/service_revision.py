"""One version of an endpoint's predictor, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shipway import modules
from shipway.executors.process.service_control import CONTROL, LISTEN_FD, short_path
from shipway.executors.process.service_manifest import Launch
from shipway.executors.process.service_state import Process, RevisionState, tail

POLL_S = 0.02


class Revision:
    """A predictor process, started by this supervisor or left by one that was killed.

    Attributes:
        record: What is written to the endpoint's state.
        launch: How to start it.
        stopping: Set when its end is wanted, so that the end is no crash.
    """

    def __init__(self, record: RevisionState, launch: Launch, folder: Path) -> None:
        self.record = record
        self.launch = launch
        self.folder = folder
        self.stopping = asyncio.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def spawn(self, listener: socket.socket, env: Mapping[str, str], lifeline: int) -> None:
        """Starts the process in a session of its own, so that a Ctrl-C in the caller's terminal is none of its.

        It works in an empty folder, as in a pod: neither modules nor files of wherever somebody typed are its own.
        """
        descriptor = listener.fileno()
        work = self.folder / "work"
        (work / "tmp").mkdir(parents=True, exist_ok=True)
        environment = {
            **modules.for_container(dict(env)),
            "TMPDIR": str(work / "tmp"),
            **self.launch.env,
            LISTEN_FD: str(descriptor),
            CONTROL: str(self.folder / self.record.control),
            "PYTHONUNBUFFERED": "1",
        }
        # Opened anew: the signal's receiver belongs to an open file, not to a descriptor (fcntl(2), F_SETSIG).
        own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with (self.folder / self.record.log).open("ab") as log, open(own, "rb", buffering=0):
            self._child = subprocess.Popen(
                self.launch.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[descriptor, own],
                start_new_session=True,
                cwd=work,
                preexec_fn=lambda: _end_with(own),
            )
        self.record.process = Process.of(self._child.pid)

    async def gone(self) -> int | None:
        """Waits for the process's end; its exit code (-9: killed), None where another supervisor was its parent."""
        process = self.record.process
        if process is not None:
            await _process_end(process)
        if self._child is not None:
            self.record.exit_code = self._child.wait()
        self.record.last_lines = tail(self.folder / self.record.log)
        return self.record.exit_code

    async def status(self) -> dict[str, Any]:
        """What the predictor says about itself; empty while it cannot answer."""
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(2):
                with short_path(self.folder / self.record.control) as address:
                    reader, writer = await asyncio.open_unix_connection(address)
                try:
                    writer.write(b'{"do": "status"}\n')
                    answer = json.loads(await reader.readline())
                    return answer if isinstance(answer, dict) else {}
                finally:
                    writer.close()
        return {}

    async def until(self, *states: str) -> bool:
        """Waits until the predictor says one of `states`; False when it ended before."""
        ended = asyncio.ensure_future(self.gone())
        try:
            while not ended.done():
                answer = await self.status()
                if answer.get("state") in states and answer.get("pid") == self.pid:
                    return True
                await asyncio.wait([ended], timeout=POLL_S)
            return False
        finally:
            ended.cancel()

    @property
    def pid(self) -> int:
        return self.record.process.pid if self.record.process else 0

    def signal(self, number: int) -> None:
        if self.record.process:
            self.record.process.signal(number)


def _end_with(lifeline: int) -> None:
    """Runs in the child: the kernel sends it SIGTERM when the last holder of the pipe's writing end is gone."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)


async def _process_end(process: Process) -> None:
    """Returns when the process has ended, be it a child or not (a zombie counts as ended)."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        if process.alive:
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
