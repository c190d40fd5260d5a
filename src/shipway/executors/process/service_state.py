"""What is kept about an endpoint in `.shipway/endpoints/<name>/state.json`, and processes told from their namesakes."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shipway import private
from shipway.context import Context
from shipway.storage.processes import start_ticks

TAIL_LINES = 20
LOG_BYTES = 8 << 20  # of one file; as many files are kept as revisions
KEPT_LOG_BYTES = 1 << 20


@dataclass(frozen=True)
class Process:
    """A process by id and start time: ids are reused, and a stranger must never be signalled."""

    pid: int
    started: int  # clock ticks after boot, field 22 of /proc/<pid>/stat (proc(5))

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this id now; None when there is none or only its zombie."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(pid, ticks)

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Sends a signal, unless the process is gone; by descriptor, so that its id cannot change hands meanwhile."""
        with suppress(OSError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)

    def end(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s`; returns when it is gone."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self.alive:
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                deadline = time.monotonic() + 60
            time.sleep(0.01)


@dataclass
class RevisionState:
    """One version of an endpoint's predictor.

    `state`: Starting, Ready, Draining, Restarting, CrashLoop, Failed, Stopped.
    """

    number: int
    spec_hash: str
    state: str = "Starting"
    process: Process | None = None
    restarts: int = 0
    exit_code: int | None = None
    last_lines: list[str] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return f"revision-{self.number}.log"

    @property
    def control(self) -> str:
        return f"revision-{self.number}.sock"


@dataclass
class EndpointState:
    """An endpoint on this machine. `current` takes the requests, `incoming` is being brought up."""

    name: str
    port: int = 0
    state: str = "Stopped"  # Starting, Ready, Restarting, CrashLoop, Failed, Stopped; Lost (`list_endpoints`)
    revisions: int = 0  # how many there ever were
    supervisor: Process | None = None
    keeper: Process | None = None  # starts the supervisor again
    current: RevisionState | None = None
    incoming: RevisionState | None = None
    draining: list[RevisionState] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_kept(self) -> bool:
        """Whether a supervisor lives, or a keeper that is about to start the next one."""
        return any(process is not None and process.alive for process in (self.supervisor, self.keeper))

    def all(self) -> list[RevisionState]:
        return [revision for revision in (self.current, self.incoming, *self.draining) if revision is not None]

    def write(self, folder: Path) -> None:
        """Whole or not at all: a reader never sees half a document."""
        private.write_text(folder / "state.json", json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> EndpointState | None:
        """What the supervisor wrote last; None where there is no endpoint."""
        try:
            raw = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return cls.from_dict(raw)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> EndpointState:
        """From `asdict`'s plain form."""
        return cls(
            **{key: raw[key] for key in ("name", "port", "state", "revisions")},
            supervisor=_process(raw["supervisor"]),
            keeper=_process(raw.get("keeper")),
            current=_revision(raw["current"]),
            incoming=_revision(raw["incoming"]),
            draining=[revision for entry in raw["draining"] if (revision := _revision(entry))],
        )


def _process(raw: dict[str, Any] | None) -> Process | None:
    return Process(**raw) if raw else None


def _revision(raw: dict[str, Any] | None) -> RevisionState | None:
    return RevisionState(**{**raw, "process": _process(raw["process"])}) if raw else None


def endpoint_folder(context: Context, name: str) -> Path:
    """Where the endpoint of this name keeps its state and logs."""
    return context.home / "endpoints" / name


def shorten(path: Path) -> None:
    """Keeps the end of a log that has grown too long. Whoever writes it has it open for appending and goes on."""
    try:
        if path.stat().st_size <= LOG_BYTES:
            return
        with path.open("r+b") as file:
            file.seek(-KEPT_LOG_BYTES, os.SEEK_END)
            kept = file.read(KEPT_LOG_BYTES)
            os.truncate(path, 0)
        with path.open("ab") as file:
            file.write(b"(what came before was thrown away)\n" + kept[kept.find(b"\n") + 1 :])
    except OSError:
        return


def tail(path: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16384))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []
