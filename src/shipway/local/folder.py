"""A local run's folder: what the caller asks of the host process, and what the host says back.

`.shipway/tmp/<number>/`: temporary files of the host and its steps, as long as the host lives.
`.shipway/runs/<run>/`: request.json, events.jsonl (one JSON object a line), _host.log (kfp's own words), <task>.log,
<task>.progress.json (how far it is), host.lock (held by the host as long as it lives).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from shipway import locks, private
from shipway.errors import ShipwayError

PROGRESS = ".progress.json"
KILL_S = 10.0  # for the kernel, behind SIGKILL


@dataclass
class Request:
    """What the host is to run."""

    run: str
    pipeline: str  # by which the host finds it: a name, `package.module:function` or `/file.py:function`
    params: dict[str, Any]
    name: str = ""
    pipeline_name: str = ""  # as the user typed it
    fresh: bool = False
    started_by: str = ""
    idempotency_key: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)  # redacted text among the params -> what it stands for


def _scratch(home: Path, run: str) -> Path:
    return home / "tmp" / sha256(run.encode()).hexdigest()[:8]


def remove_scratch(home: Path, but: str = "") -> None:
    """Removes temporary files of runs whose host was killed."""
    left = list((home / "tmp").glob("*"))
    runs = (path.name for path in (home / "runs").glob("*")) if left else ()
    kept = {_scratch(home, run) for run in runs if run == but or RunFolder(home, run).host_lives()}
    for folder in left:
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, home: Path, run: str) -> None:
        self.home = home
        self.run = run
        self.path = home / "runs" / run
        self.lock = self.path / "host.lock"
        self.log = self.path / "_host.log"  # no task is called so: KFP's names hold no underscore
        self._events = self.path / "events.jsonl"

    def create(self, request: Request) -> None:
        """Makes the folder ready for a new host; the last host's events go."""
        private.make_folder(self.path)
        private.write_text(self.path / "request.json", json.dumps(asdict(request), indent=1))
        private.write_text(self._events, "")
        for told in self.path.glob(f"*{PROGRESS}"):
            told.unlink(missing_ok=True)

    def request(self) -> Request:
        """What was asked."""
        known = {each.name for each in fields(Request)}
        asked = json.loads((self.path / "request.json").read_text(encoding="utf-8"))
        return Request(**{name: value for name, value in asked.items() if name in known})  # another version wrote more

    def task_log(self, task: str) -> Path:
        """Where a task's output goes."""
        return self.path / f"{task}.log"

    def progress_file(self, step: str) -> Path:
        """How far a running step is; written by the step itself."""
        return self.path / f"{step}{PROGRESS}"

    def emit(self, kind: str, **data: Any) -> None:
        """Appends an event; one write, so that a reader never sees half a line from a writer that lives."""
        line = json.dumps({"at": time.time(), "kind": kind, **data}, default=str) + "\n"
        descriptor = os.open(self._events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def events(self, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """Whole events from a byte offset on, each with the offset behind it."""
        if not self._events.exists():
            return
        with self._events.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield offset, json.loads(line)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """The folder for temporary files of this process and its children, which goes at the end.

        kfp leaves a folder behind for each step, and so does whatever is killed. The path is short: sockets may lie
        there.
        """
        folder = _scratch(self.home, self.run)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        os.environ["TMPDIR"], tempfile.tempdir = str(folder), None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def host_lives(self) -> bool:
        """Whether a host holds the lock; the kernel lets go of it however the host dies."""
        return locks.is_held(self.lock)

    def state(self) -> str:
        """How the run ended, as its host told; empty where the host is still at it, or was killed before it could."""
        last_state = ""
        for _, event in self.events():
            if event["kind"] == "run":
                last_state = str(event["record"]["state"])
        return last_state

    def stop_host(self, grace_s: float = 30.0) -> bool:
        """Tells the host to end its steps and itself, and waits for it; False when none lives.

        Raises:
            ShipwayError: it does not end, not even when it is killed.
        """
        if not self.host_lives():
            return False
        deadline = time.monotonic() + grace_s
        number = signal.SIGTERM
        while self.host_lives():
            with suppress(ValueError, OSError):  # it has just ended, or has not yet said who it is
                os.kill(int(self.lock.read_text(encoding="utf-8")), number)
            until = time.monotonic() + (grace_s if number == signal.SIGTERM else 1.0)
            while self.host_lives() and time.monotonic() < until:
                time.sleep(0.05)
            if time.monotonic() >= deadline + KILL_S:
                raise ShipwayError(f"run {self.run}: its host, the process named in {self.lock}, cannot be ended")
            if time.monotonic() >= deadline:
                number = signal.SIGKILL
        return True
