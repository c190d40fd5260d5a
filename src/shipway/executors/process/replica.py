"""One replica: a process in a group of its own, with a private folder and a log file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shipway import parents
from shipway.deaths import oom_kills
from shipway.executors.process import reaper
from shipway.executors.process.folder import JobFolder, read_lines
from shipway.executors.process.plan import JobPlan, ReplicaPlan
from shipway.executors.process.rules import Status, exit_code_of, reason_of

COMMAND_NOT_STARTED = 127  # what a shell says; permanent under ExitCode


@dataclass
class End:
    """How one start of a replica ended."""

    at: float
    exit_code: int
    reason: str


@dataclass
class Replica:
    """A replica over all its starts.

    Attributes:
        start: Number of the present start; names its log, 0 for the first.
        stopped_by_us: The supervisor asked it to end, so its exit code says nothing about it.
    """

    plan: ReplicaPlan
    folder: JobFolder
    status: Status
    start: int = -1
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float | None = 0.0
    quick_deaths: int = 0
    stopped_by_us: bool = False
    last_end: End | None = None
    oom_kills: int = 0
    offsets: dict[Path, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def private(self) -> Path:
        return self.folder.replica(self.name)

    @property
    def log(self) -> Path:
        return self.private / f"{self.start}.log"

    @property
    def is_alive(self) -> bool:
        return self.process is not None

    def launch(self, plan: JobPlan, env: Mapping[str, str]) -> bool:
        """Starts the command; False (and a `last_end`) where it cannot be started at all."""
        self.start += 1
        self.due_at = None
        self.stopped_by_us = False
        work = self.fresh_work()
        full = {
            **env,
            **self.plan.env,
            "HOME": str(work),
            "PWD": str(work),
            "TMPDIR": str(work / "tmp"),
            "SHIPWAY_JOB": plan.base,
            "SHIPWAY_ATTEMPT": str(plan.attempt),
            "SHIPWAY_REPLICA": self.name,
            "SHIPWAY_RESTART": str(self.start),
            "SHIPWAY_PROGRESS": str(self.private / f"{self.start}.progress.jsonl"),
            reaper.TOKEN: plan.uid,
        }
        self.started_at = time.monotonic()
        self.oom_kills = oom_kills()
        with open(self.log, "ab") as log:
            try:
                self.process = subprocess.Popen(
                    self.plan.argv, cwd=work, env=full, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    process_group=0, preexec_fn=parents.dies_with(os.getpid()),
                )  # fmt: skip
            except OSError as error:
                log.write(f"cannot start {self.plan.argv[0]}: {error.strerror}\n".encode())
                self.last_end = End(time.monotonic(), COMMAND_NOT_STARTED, "StartError")
                self.status.exit_code = COMMAND_NOT_STARTED
                return False
        self.status.phase = "Running"
        return True

    def fresh_work(self) -> Path:
        """An empty private folder, as a new pod has; what replicas share goes through object storage."""
        self.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = self.private / "work"
        shutil.rmtree(work, ignore_errors=True)
        (work / "tmp").mkdir(parents=True)
        return work

    def reap(self, uid: str) -> End | None:
        """How it ended, if it did; whatever it left running is killed, as with a container's first process."""
        if self.process is None:
            return None
        returncode = self.process.poll()
        if returncode is None:
            return None
        self.kill_group()
        # Of a launcher also its ranks: mpirun, killed outright, cannot end them.
        reaper.end(uid, None if self.plan.role == "launcher" else self.name)
        self.process = None
        reason = (
            "OOMKilled" if returncode == -signal.SIGKILL and oom_kills() > self.oom_kills else reason_of(returncode)
        )
        self.last_end = End(time.monotonic(), exit_code_of(returncode), reason)
        self.status.exit_code = self.last_end.exit_code
        return self.last_end

    def ask_to_end(self) -> None:
        """SIGTERM to the first process alone, as a kubelet does: it decides about its own children."""
        self.stopped_by_us = True
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)

    def kill_group(self) -> None:
        """SIGKILL to the whole group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def progress(self) -> list[tuple[str, int, dict[str, Any]]]:
        """New progress objects: replica, start, object. An MPI launcher's ranks have folders beside its own."""
        records = []
        for name, path in self._progress_files():
            try:
                if path.stat().st_size <= self.offsets.get(path, 0):
                    continue
            except FileNotFoundError:
                continue
            lines, self.offsets[path] = read_lines(path, self.offsets.get(path, 0))
            for line in lines:
                try:
                    document = json.loads(line)
                except ValueError:
                    continue
                if isinstance(document, dict):
                    records.append((name, self.start, document))
        return records

    def _progress_files(self) -> list[tuple[str, Path]]:
        own = f"{self.start}.progress.jsonl"
        if self.plan.role != "launcher":
            return [(self.name, self.private / own)]
        return [(path.parent.name, path) for path in sorted(self.folder.path.glob(f"replicas/*/{own}"))]

    def describe(self) -> dict[str, Any]:
        """For state.json."""
        return {
            "phase": self.status.phase,
            "pid": self.process.pid if self.process else None,
            "start": self.start,
            "restarts": self.status.restarts,
            "exit_code": self.status.exit_code,
            "reason": self.last_end.reason if self.last_end else "",
        }
