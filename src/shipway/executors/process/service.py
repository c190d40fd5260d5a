"""Plays an InferenceService on this machine: a detached endpoint that outlives the run which deployed it.

An endpoint keeps its port over versions. Unlike a job, a service of the same name and another spec is no conflict: the
new spec takes over from the old one, as applying a changed InferenceService does on a cluster.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shipway import locks, modules, private
from shipway.context import Context
from shipway.deaths import last_words
from shipway.errors import ShipwayError, UserError
from shipway.executors.base import REPLACED, Event, Handle, LogLine, Manifest, OnEvent, Outcome, ReplicaFailure
from shipway.executors.process.service_control import call, fetch_listener
from shipway.executors.process.service_manifest import KIND, Launch, caller_env, read_manifest
from shipway.executors.process.service_state import EndpointState, RevisionState, endpoint_folder, tail
from shipway.executors.process.service_supervisor import SOCKET

POLL_S = 0.03
SUPERVISOR_START_S = 20.0
STOP_S = 60.0
_HEALTHY = ("Starting", "Ready", "Restarting")


def ensure(context: Context, manifest: Manifest) -> Handle:
    """Brings the service up, or adopts the one of the same name and spec; never waits for Ready (see `follow`).

    Raises:
        InvalidSpec: a field that this machine cannot honour.
        UserError: the port that the manifest asks for is taken.
    """
    launch = read_manifest(manifest)
    folder = endpoint_folder(context, launch.name)
    private.tighten(context.home)
    namespace = str((manifest.get("metadata") or {}).get("namespace") or context.namespace)
    with locks.alone(folder / "lock"):
        state = _supervisor(folder)
        if state is None or (launch.port is not None and launch.port != state.port):
            state = _start_supervisor(folder, launch)
        adopted = _target(state, launch.spec_hash)
        if adopted is not None and adopted.state in _HEALTHY:
            # Storage may have moved since: what is started again must find it. And asked for what already serves, a
            # version that is still coming up is not wanted any more.
            call(folder / SOCKET, {"do": "keep", "spec_hash": launch.spec_hash, "env": caller_env()})
        else:
            adopted = None
            call(folder / SOCKET, {"do": "apply", "manifest": manifest, "env": caller_env()})
    return Handle(KIND, launch.name, namespace, launch.spec_hash, adopted=adopted is not None)


def follow(
    context: Context, handle: Handle, on_event: OnEvent | None = None, deadline_s: float | None = None
) -> Outcome:
    """Waits until the handle's version alone takes new connections.

    A version that does not come up is Failed and leaves the one before it serving; so does one that is not Ready
    within `deadline_s`.
    """
    began = time.monotonic()
    folder = endpoint_folder(context, handle.name)
    tell = _Teller(on_event)
    tell.skipped(folder, handle)
    while True:
        state = EndpointState.read(folder)
        revision = _target(state, handle.spec_hash) if state else None
        seconds = time.monotonic() - began
        if state is None or revision is None:
            failure = ReplicaFailure(handle.name, None, REPLACED)
            message = f"endpoint {handle.name} was stopped or given another version"
            return Outcome("Failed", seconds, first_failure=failure, message=message)
        tell.state(handle.name, revision)
        if revision.state == "Ready" and state.current is revision:
            return Outcome("Ready", seconds, revision.restarts, url=state.url)
        late = deadline_s is not None and seconds > deadline_s
        if late:
            call(folder / SOCKET, {"do": "abort", "spec_hash": handle.spec_hash})
        if late or revision.state in ("Failed", "CrashLoop"):
            return _failed(handle, revision, seconds, folder, late)
        if not state.is_kept:
            return Outcome("Failed", seconds, message=f"endpoint {handle.name}: its supervisor ended; deploy again")
        time.sleep(POLL_S)


def logs(context: Context, handle: Handle, follow: bool = False) -> Iterator[LogLine]:
    """Lines of the supervisor and of each version's predictor, oldest version first."""
    folder = endpoint_folder(context, handle.name)
    positions: dict[Path, int] = {}
    while True:
        files = sorted(folder.glob("revision-*.log"), key=lambda path: int(path.stem.partition("-")[2]))
        for path in [folder / "supervisor.log", *files]:
            if not path.is_file():
                continue
            with path.open("rb") as file:
                file.seek(positions.get(path, 0))
                whole, _, _rest = file.read().rpartition(b"\n") if follow else (file.read().rstrip(b"\n"), b"", b"")
                positions[path] = positions.get(path, 0) + len(whole) + (1 if whole else 0)
            for line in whole.decode("utf-8", "replace").splitlines():
                yield LogLine(path.stem, line)
        if not follow:
            return
        time.sleep(POLL_S)


def cancel(context: Context, handle: Handle) -> None:
    """Ends the endpoint; safe to call twice."""
    stop_endpoint(context, handle.name)


def list_endpoints(context: Context) -> list[EndpointState]:
    """Every endpoint that nobody stopped; `Lost` where supervisor and keeper were killed, and the predictor went with
    them (`ensure` brings it back)."""
    states = []
    for path in sorted((context.home / "endpoints").glob("*/state.json")):
        state = EndpointState.read(path.parent)
        if state is None:
            continue
        if state.supervisor is None:
            continue
        if not state.is_kept:
            state.state = "Lost"
        states.append(state)
    return states


def stop_endpoint(context: Context, name: str) -> bool:
    """Ends an endpoint and all its processes, and waits until they are gone. False when there was none."""
    folder = endpoint_folder(context, name)
    if not folder.is_dir():
        return False
    with locks.alone(folder / "lock"):
        state = EndpointState.read(folder)
        if state is None:
            return False
        return _stop(folder, state)


def _stop(folder: Path, state: EndpointState) -> bool:
    state = _supervisor(folder) or state
    kept = (state.keeper, state.supervisor, *(revision.process for revision in state.all()))
    processes = [process for process in kept if process is not None and process.alive]
    try:
        call(folder / SOCKET, {"do": "stop"})
    except OSError:  # killed: what it left behind is ended one by one
        for silent in (state.keeper, state.supervisor):
            if silent is not None:
                silent.signal(signal.SIGKILL)  # the keeper first: it would start another one
        for process in processes:
            process.end(STOP_S / 2)
    deadline = time.monotonic() + STOP_S
    for process in processes:
        while process.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.alive:
            process.end(0)
    left = EndpointState.read(folder)
    if left is not None:
        EndpointState(name=left.name, port=left.port, revisions=left.revisions).write(folder)
    return bool(processes)


def _supervisor(folder: Path) -> EndpointState | None:
    """The state as the running supervisor tells it; None when none runs. One that its keeper is about to start again is
    waited for."""
    deadline = time.monotonic() + SUPERVISOR_START_S
    while True:
        try:
            return EndpointState.from_dict(call(folder / SOCKET, {"do": "status"}))
        except (OSError, ValueError, KeyError) as error:
            left = EndpointState.read(folder)
            if left is None or left.keeper is None or not left.keeper.alive or time.monotonic() > deadline:
                return None
            if isinstance(error, TimeoutError) and left.supervisor is not None:
                left.supervisor.signal(signal.SIGKILL)  # alive, yet it does not answer
        time.sleep(0.01)


def _target(state: EndpointState, spec_hash: str) -> RevisionState | None:
    """The revision that a handle means: one that is coming up is what was asked for last."""
    for revision in (state.incoming, state.current):
        if revision is not None and (revision.spec_hash == spec_hash):
            return revision
    return None


def _start_supervisor(folder: Path, launch: Launch) -> EndpointState:
    """Starts a supervisor on the endpoint's port and waits until it answers."""
    left = EndpointState.read(folder)
    for process in (left.keeper, left.supervisor) if left is not None else ():
        if process is not None:
            process.signal(signal.SIGKILL)  # alive, yet it does not answer
    listener = _inherited(folder, left, launch.port) or _bind(launch, left)
    if left is not None and listener.getsockname()[1] != left.port:
        _stop(folder, left)  # it moves to another port: the old one must not go on serving there
    with listener, (folder / "supervisor.log").open("ab") as log:
        command = [
            sys.executable,
            "-P",
            "-m",
            "shipway.executors.process.endpoint",
            str(folder),
            str(listener.fileno()),
        ]
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=modules.for_child(caller_env()),
            cwd="/",
            pass_fds=[listener.fileno()],
            umask=private.UMASK,
            check=True,
        )
    deadline = time.monotonic() + SUPERVISOR_START_S
    while (state := _supervisor(folder)) is None:
        if time.monotonic() > deadline:
            lines = " | ".join(tail(folder / "supervisor.log", 3))
            raise ShipwayError(f"endpoint {launch.name}: its supervisor did not start: {lines}")
        time.sleep(0.01)
    return state


def _inherited(folder: Path, left: EndpointState | None, port: int | None) -> socket.socket | None:
    """The socket of a predictor that still serves although its supervisor was killed."""
    if left is None or port not in (None, left.port):
        return None
    for revision in left.all():
        if revision.process is not None and revision.process.alive:
            try:
                return fetch_listener(folder / revision.control)
            except OSError:
                continue
    return None


def _bind(launch: Launch, left: EndpointState | None) -> socket.socket:
    """A socket on the port that was asked for, else on the one it had, else on a free one. It does not listen yet:
    until the first version is ready, a client is refused instead of kept waiting."""
    if launch.port is not None:
        try:
            return _bound(launch.port)
        except OSError as error:
            raise UserError(
                f"port {launch.port} is in use by another program",
                field=f"endpoint {launch.name}",
                fix="give another one (endpoint.port) or stop that program",
            ) from error
    for port in (left.port if left else 0, 0):
        try:
            return _bound(port)
        except OSError:
            continue
    raise ShipwayError(f"endpoint {launch.name}: no free port on 127.0.0.1")


def _bound(port: int) -> socket.socket:
    """Raises OSError when the port is taken, by a socket that listens or by one that is only bound."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


def _failed(handle: Handle, revision: RevisionState, seconds: float, folder: Path, late: bool) -> Outcome:
    lines = revision.last_lines or tail(folder / revision.log)
    reason = "Deadline" if late else "CrashLoop" if revision.state == "CrashLoop" else "Error"
    failure = ReplicaFailure(f"predictor-{revision.number}", revision.exit_code, reason, lines)
    last = last_words(lines) or f"no output; its log is {folder / revision.log}"
    message = f"endpoint {handle.name}: revision {revision.number} is not ready ({reason}): {last}"
    return Outcome("Failed", seconds, revision.restarts, failure, message)


class _Teller:
    """Turns changes of state into events, each told once."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event
        self._last = ""

    def skipped(self, folder: Path, handle: Handle) -> None:
        state = EndpointState.read(folder)
        revision = _target(state, handle.spec_hash) if state else None
        fields = read_manifest(revision.manifest).not_applied if revision and not handle.adopted else []
        if fields:
            self._tell("not_applied", f"not applied here: {', '.join(fields)}", {"fields": fields})

    def state(self, name: str, revision: RevisionState) -> None:
        now = f"{revision.state} (restarts {revision.restarts})"
        if now != self._last:
            self._last = now
            self._tell(revision.state.lower(), f"{name} revision {revision.number}: {revision.state}", {})

    def _tell(self, kind: str, message: str, data: dict[str, Any]) -> None:
        if self._on_event is not None:
            self._on_event(Event(time.time(), kind, message, data))
