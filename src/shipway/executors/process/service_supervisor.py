"""Keeps one endpoint served: starts predictors, lets a new one take over on the same port, restarts what crashes.

Old and new share the listening socket and so its queue: the new one begins to accept when its model is loaded and
warm, only then is the old one told to drain. No connection meets a closed port in between.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shipway.executors.process.service_control import bind
from shipway.executors.process.service_manifest import caller_env, read_manifest
from shipway.executors.process.service_revision import Revision
from shipway.executors.process.service_state import EndpointState, Process, RevisionState, shorten

SOCKET = "supervisor.sock"
START_ATTEMPTS = 3
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STABLE_S = 60.0  # a predictor that lived this long starts the backoff anew
CRASH_LOOP = 3  # quick crashes in a row
FOLDER_POLL_S = 1.0
MESSAGE_BYTES = 1 << 22
KEPT_LOGS = 10  # of as many revisions


class Supervisor:
    """Looks after one endpoint; see the module's docstring."""

    def __init__(self, folder: Path, listener: socket.socket, lifeline: int) -> None:
        self.folder = folder
        self.lifeline = lifeline
        self.listener = listener
        self.env = caller_env()
        self.state = EndpointState(name=folder.name, port=listener.getsockname()[1])
        self.current: Revision | None = None
        self.incoming: Revision | None = None
        self.draining: list[Revision] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serves until it is told to stop or the endpoint's folder is gone."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self.state.supervisor, self.state.keeper = Process.of(os.getpid()), Process.of(os.getppid())
        await self._recover()
        server = await asyncio.start_unix_server(self._answer, sock=bind(self.folder / SOCKET), limit=MESSAGE_BYTES)
        self._save()
        while not self._stop.is_set() and self.folder.is_dir():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), FOLDER_POLL_S)
            for log in self.folder.glob("*.log"):
                shorten(log)
        server.close()
        await self._end_all()

    async def _recover(self) -> None:
        """Takes over the predictor that a killed supervisor left serving, or starts it again; ends its other ones."""
        left = EndpointState.read(self.folder)
        if left is None:
            return
        self.state.revisions = left.revisions
        for record in left.all():
            revision = Revision(record, read_manifest(record.manifest, self.env), self.folder)
            if record.process is None or not record.process.alive:
                if left.current is record:  # it served, and nobody stopped it
                    self.current = revision
                    self._keep(self._look_after(revision))
                continue
            if left.current is record and (await revision.status()).get("state") == "serving":
                record.state = "Ready"
                self.current = revision
                self._keep(self._look_after(revision))
            else:
                self._drain(revision)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            message = json.loads(await reader.readline())
            writer.write(json.dumps(self._do(message)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    def _do(self, message: dict[str, Any]) -> dict[str, Any]:
        """One request of `ensure`, `follow` or `cancel`."""
        if "env" in message:
            self.env = message["env"]
        match message.get("do"):
            case "apply":
                self._apply(message["manifest"])
            case "abort":
                self._abort(self.incoming is not None and self.incoming.record.spec_hash == message["spec_hash"])
            case "keep":
                self._abort(self.incoming is not None and self.incoming.record.spec_hash != message["spec_hash"])
            case "stop":
                self._stop.set()
        self._save()
        return asdict(self.state)

    def _apply(self, manifest: dict[str, Any]) -> None:
        """Brings a new revision up; one that was still coming up is given up for it."""
        launch = read_manifest(manifest, self.env)
        if self.incoming is not None:
            self._drain(self.incoming)
        self.state.revisions += 1
        record = RevisionState(number=self.state.revisions, spec_hash=launch.spec_hash, manifest=manifest)
        self.incoming = Revision(record, launch, self.folder)
        (self.folder / f"revision-{record.number - KEPT_LOGS}.log").unlink(missing_ok=True)
        self._keep(self._bring_up(self.incoming))

    def _abort(self, is_unwanted: bool) -> None:
        """Gives up a revision that is coming up; the one that serves is not touched."""
        if self.incoming is not None and is_unwanted:
            self._drain(self.incoming)
            self.incoming = None

    async def _bring_up(self, revision: Revision) -> None:
        """Starts a revision, and lets it take over once it serves."""
        for attempt in range(START_ATTEMPTS):
            serving = await self._start(revision, revision.launch.start_deadline_s)
            if serving or revision.stopping.is_set():
                break
            # Exit codes 1 and 2 are errors that it reported itself: a changed file, a wrong spec. Again is no cure.
            if revision.record.exit_code in (1, 2) or attempt + 1 == START_ATTEMPTS:
                revision.record.state = "Failed"
                self._save()
                return
            await asyncio.sleep(BACKOFF_S[attempt])
        if revision.stopping.is_set():
            return
        old, self.current, self.incoming = self.current, revision, None
        if old is not None:
            self._drain(old)
            await old.until("draining")
        if not revision.stopping.is_set():
            revision.record.state = "Ready"
            self._save()
            await self._look_after(revision)

    async def _start(self, revision: Revision, deadline_s: float) -> bool:
        """Whether the revision serves; its process is gone when it doesn't."""
        revision.spawn(self.listener, self.env, self.lifeline)
        self._save()
        try:
            async with asyncio.timeout(deadline_s):
                return await revision.until("serving")
        except TimeoutError:
            revision.signal(signal.SIGKILL)
            await revision.gone()
            revision.record.last_lines.append(f"not ready within {deadline_s:g} s: killed")
            return False

    async def _look_after(self, revision: Revision) -> None:
        """Starts the serving revision again whenever it ends unasked."""
        quick = 0
        while not revision.stopping.is_set():
            began = time.monotonic()
            await revision.gone()
            if revision.stopping.is_set():
                return
            serving = False
            while not serving and not revision.stopping.is_set():
                quick = 0 if time.monotonic() - began > STABLE_S else quick + 1
                revision.record.restarts += 1
                revision.record.state = "CrashLoop" if quick >= CRASH_LOOP else "Restarting"
                self._save()
                with suppress(TimeoutError):
                    await asyncio.wait_for(revision.stopping.wait(), BACKOFF_S[min(quick, len(BACKOFF_S)) - 1])
                    return
                began = time.monotonic()
                serving = await self._start(revision, revision.launch.start_deadline_s)
            revision.record.state = "Ready"
            self._save()

    def _drain(self, revision: Revision) -> None:
        """Asks a revision to finish what it has and go; the caller does not wait."""
        revision.stopping.set()
        revision.record.state = "Draining"
        self.draining.append(revision)
        revision.signal(signal.SIGTERM)
        self._keep(self._see_off(revision))

    async def _see_off(self, revision: Revision) -> None:
        try:
            async with asyncio.timeout(revision.launch.grace_s):
                await revision.gone()
        except TimeoutError:
            revision.signal(signal.SIGKILL)
            await revision.gone()
        revision.record.state = "Stopped"
        self.draining.remove(revision)
        (self.folder / revision.record.control).unlink(missing_ok=True)
        self._save()

    async def _end_all(self) -> None:
        for revision in (self.incoming, self.current):
            if revision is not None:
                self._drain(revision)
        self.incoming = self.current = None
        while self.draining:
            await asyncio.sleep(0.01)
        self.state.supervisor = self.state.keeper = None
        self._save()
        (self.folder / SOCKET).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "work", ignore_errors=True)

    def _keep(self, work: Any) -> None:
        """The loop holds tasks weakly: keeps one until it is done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            print(f"supervisor: {type(error).__name__}: {error}", flush=True)

    def _save(self) -> None:
        """Writes the state that `ensure`, `follow` and a successor read."""
        self.state.current = self.current.record if self.current else None
        self.state.incoming = self.incoming.record if self.incoming else None
        self.state.draining = [revision.record for revision in self.draining]
        leading = self.current or self.incoming
        self.state.state = leading.record.state if leading else "Stopped"
        with suppress(OSError):  # the folder was removed: the end is near
            self.state.write(self.folder)
