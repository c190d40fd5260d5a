"""Adopt, don't duplicate: which attempt of a job an `ensure` means, and how a new one comes to life."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shipway import locks, modules, private
from shipway.context import Context
from shipway.executors.base import Handle, Manifest
from shipway.executors.outcomes import OutcomeRecord, other_spec, read_outcome
from shipway.executors.process import leases, reaper
from shipway.executors.process.cluster import ambient
from shipway.executors.process.environments import environments
from shipway.executors.process.folder import FINAL, JobFolder, last_lines
from shipway.executors.process.jobs import read_job
from shipway.executors.process.plan import JobPlan

POLL_S = 0.05
INVOCATION = "SHIPWAY_INVOCATION"  # set by `shipway run`: failures of an earlier invocation don't use up attempts

_children: list[subprocess.Popen[bytes]] = []  # supervisors that this process started, so that none stays a zombie
_children_lock = threading.RLock()


@dataclass(frozen=True)
class Attempts:
    """The attempts of one job on this machine, oldest first in folders `<base>`, `<base>-r1`, ..."""

    context: Context
    base: str

    @property
    def home(self) -> JobFolder:
        """The folder of all jobs."""
        return JobFolder(self.context.home / "jobs")

    def ensure(self, manifest: Manifest, plan: JobPlan, notes: list[str], backoff_limit: int) -> Handle:
        """The attempt that is adopted, given back, or started; see `Executor.ensure`.

        Args:
            manifest: As it was given.
            plan: Of its first attempt.
            notes: Fields that are not applied here.
            backoff_limit: How many failed attempts are followed by another one.

        Raises:
            Conflict: a job of that name with another spec.
        """
        private.make_folder(self.home.path)
        private.tighten(self.context.home)
        with locks.alone(self.home / f".{self.base}.lock"):
            self._forget_expired()
            present = self.folders()
            if present:
                return self._from_folder(manifest, plan, notes, backoff_limit, present)
            return self._from_record(manifest, plan, notes, backoff_limit)

    def folders(self) -> list[tuple[int, JobFolder]]:
        """Attempts that got as far as a plan."""
        numbered = []
        for path in self.home.path.glob(f"{self.base}*/plan.json"):
            document = JobFolder(path.parent).read("plan.json") or {}
            if document.get("base") == self.base:
                numbered.append((int(document["attempt"]), JobFolder(path.parent)))
        return sorted(numbered, key=lambda pair: pair[0])

    def failures(self) -> int:
        """How many attempts of this invocation failed: typing a command again is worth a new try."""
        return sum(
            folder.state().get("state") == "Failed"
            and (folder.read("origin.json") or {}).get("invocation") == invocation()
            for _, folder in self.folders()
        )

    # -- private ---------------------------------------------------------------------------------------------------

    def _from_folder(
        self,
        manifest: Manifest,
        plan: JobPlan,
        notes: list[str],
        backoff_limit: int,
        present: list[tuple[int, JobFolder]],
    ) -> Handle:
        attempt, folder = present[-1]
        last = JobPlan.from_json((folder / "plan.json").read_text(encoding="utf-8"))
        if last.spec_hash != plan.spec_hash:
            raise other_spec(self.base, plan.spec_hash, last.spec_hash, f"in {folder.path}")
        state = _settled_state(folder)
        is_spent = state == "Failed" and self.failures() > backoff_limit
        if is_spent or state == "Succeeded":
            leases.let_go(folder)
        if is_spent or state in ("Pending", "Running", "Suspended", "Succeeded"):
            return Handle(last.kind, last.name, last.namespace, last.spec_hash, adopted=True, base=self.base)
        leases.let_go(folder)
        return self._start(manifest, notes, attempt + 1)

    def _from_record(self, manifest: Manifest, plan: JobPlan, notes: list[str], backoff_limit: int) -> Handle:
        """What object storage remembers, where this machine doesn't."""
        record = read_outcome(self.context.store_uri, self.base)
        if record is None:
            return self._start(manifest, notes, 0)
        if record.spec_hash != plan.spec_hash:
            raise other_spec(self.base, plan.spec_hash, record.spec_hash, "in object storage")
        is_spent = record.outcome.state == "Failed" and self._recorded_failures(record) > backoff_limit
        if record.outcome.state == "Succeeded" or is_spent:
            return Handle(plan.kind, record.name, plan.namespace, plan.spec_hash, adopted=True, base=self.base)
        return self._start(manifest, notes, record.attempt + 1)

    def _recorded_failures(self, record: OutcomeRecord) -> int:
        return record.failures if record.invocation == invocation() else 0

    def _start(self, manifest: Manifest, notes: list[str], attempt: int) -> Handle:
        """Makes the attempt's folder and its supervisor."""
        plan, _ = read_job(manifest, self.base, attempt, environments())  # names and uid are the attempt's own
        folder = JobFolder(self.context.home / "jobs" / plan.name)
        shutil.rmtree(folder.path, ignore_errors=True)  # of a start that died before its plan
        folder.path.mkdir(mode=0o700)
        folder.write("manifest.json", manifest)
        folder.write("origin.json", {"invocation": invocation(), "run": self.context.run, "pid": os.getpid()})
        folder.write("state.json", {"name": plan.name, "state": "Pending", "created_at": time.time()})
        folder.tell("created", f"{plan.kind} {plan.name} created", attempt=attempt, spec_hash=plan.spec_hash)
        if notes:
            folder.tell("not-applied", f"not applied here: {', '.join(notes)}", fields=notes)
        leases.hold(folder)
        descriptor = locks.take(folder / "supervisor.lock")  # lives on in the child: no moment without a holder
        try:
            folder.write_text("plan.json", plan.to_json())
            self._spawn(folder, descriptor)
        finally:
            os.close(descriptor)
        return Handle(plan.kind, plan.name, plan.namespace, plan.spec_hash, base=self.base)

    def _spawn(self, folder: JobFolder, lock: int) -> None:
        env = modules.for_child({**ambient(os.environ), "PATH": os.environ.get("PATH", os.defpath)})
        env |= {"SHIPWAY_HOME": str(self.context.home), "SHIPWAY_STORE": self.context.store_uri}
        env |= {"SHIPWAY_RUN": self.context.run, "SHIPWAY_EXECUTOR": "process"}
        command = [sys.executable, "-P", "-m", "shipway.executors.process.supervisor", str(folder.path), str(lock)]
        reap_children()
        with open(folder / "supervisor.log", "ab") as log:
            child = subprocess.Popen(
                command, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, pass_fds=[lock], umask=private.UMASK,
            )  # fmt: skip
        with _children_lock:
            _children.append(child)

    def _forget_expired(self) -> None:
        """Removes finished attempts whose ttlSecondsAfterFinished has passed."""
        for _, folder in self.folders():
            ttl = (folder.read("plan.json") or {}).get("ttl_s")
            state = folder.state()
            if ttl is None or state.get("state") not in FINAL or folder.is_supervised():
                continue
            if time.time() > float(state.get("updated_at", 0)) + ttl:
                shutil.rmtree(folder.path, ignore_errors=True)


def invocation() -> str:
    """What the caller typed, when it says so."""
    return os.environ.get(INVOCATION, "")


def reap_children() -> None:
    """Takes leave of supervisors that have ended."""
    with _children_lock:
        _children[:] = [child for child in _children if child.poll() is None]


def bury(folder: JobFolder, final: str, message: str = "") -> str:
    """The final state of a job without a supervisor; one whose supervisor died before writing it is settled here.

    Args:
        folder: The job's.
        final: Failed where somebody waited for it. Cancelled where the machine or the step that started it went away,
            which is no failure of the job: the next attempt is free.
        message: Why, where that is known.
    """
    state = folder.state()
    if not state or state.get("state") in FINAL:
        return str(state.get("state", ""))
    uid = str((folder.read("plan.json") or {}).get("uid", ""))
    killed = reaper.end(uid) if uid else 0
    reaper.clear(uid)
    message = message or f"its supervisor (process {state.get('pid', 'unknown')}) died; see {folder / 'supervisor.log'}"
    lost = {"replica": "", "exit_code": None, "reason": "Lost", "last_lines": last_lines(folder / "supervisor.log")}
    folder.tell(final.lower(), message, killed=killed)
    settled = {"state": final, "message": message, "updated_at": time.time()}
    first = state.get("first_failure") if state.get("ending") == "Failed" else lost
    folder.write("state.json", {**state, **settled, "first_failure": first})
    return final


def kill_supervisor(folder: JobFolder) -> None:
    """Ends a supervisor that no longer answers; its replicas die with it."""
    pid = int(folder.state().get("pid") or 0)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return
    if str(folder.path).encode() in command.split(b"\0"):  # not another process that was given its number
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while folder.is_supervised():
        time.sleep(POLL_S)


def _settled_state(folder: JobFolder) -> str:
    """The job's state, when it is not just ending; from here on it is followed."""
    leases.hold(folder)
    while True:
        state = folder.state()
        if not folder.is_supervised():
            return bury(folder, "Cancelled")
        if not state.get("ending") or state.get("state") == "Succeeded":
            return str(state.get("state", "Pending"))
        time.sleep(POLL_S)  # it ends: the supervisor kills what ignores SIGTERM after its grace
