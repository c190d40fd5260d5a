"""Plays one job to its end: `python -m shipway.executors.process.supervisor <job folder>`.

A process of its own per job, in its own session, so that the job has one parent that any number of followers can come
to and go from. It lives as long as somebody follows the job, and takes all replicas with it. It has one thread: the
parent-death signal that replicas carry fires when the *thread* that started them ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from shipway.executors.process import reaper
from shipway.executors.process.cluster import replica_environment
from shipway.executors.process.ending import Ending, first_failure_of
from shipway.executors.process.faults import parse_fault
from shipway.executors.process.folder import FINAL, JobFolder
from shipway.executors.process.plan import Plan
from shipway.executors.process.ports import free_ports, is_free
from shipway.executors.process.replica import Replica
from shipway.executors.process.rules import (
    QUICK_DEATH_S,
    Status,
    after_exit,
    exceeds_backoff,
    judge,
    restart_delay,
)

POLL_S = 0.1
ORPHAN_CHECK_S = 0.4
PORT_TRIES = 5


class Supervisor:
    """The job's state machine; `run` returns when the job has ended and nobody needs its processes."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.plan = Plan.from_json((folder / "plan.json").read_text(encoding="utf-8"))
        self.faults = [parse_fault(text) for text in self.plan.faults]
        self.replicas = [
            Replica(plan, folder, Status(plan.name, plan.role, plan.index, plan.restart_policy))
            for plan in self.plan.replicas
        ]
        self.state = "Pending"
        self.message = ""
        self.created_at = self.began_at = time.time()
        self.first_failure: dict[str, Any] | None = None
        self.ending: Ending | None = None
        self.ports: dict[str, int] = {}
        self.port_tries = 0
        self.control_seen = 0
        self.next_orphan_check = 0.0
        # Open MPI's session folder holds socket paths, which must stay short.
        self.scratch = Path(tempfile.mkdtemp(prefix="shipway-")) if self.plan.mpi else None

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Plays the job."""
        wake, self._wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self.end("Cancelled", "the supervisor was asked to end (SIGTERM)"))
        if self.plan.suspended:
            self.save("Suspended", "created suspended")
        else:
            self.begin()
        try:
            while not self.is_over():
                select.select([wake], [], [], POLL_S)
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
                self.turn()
        finally:
            for replica in self.replicas:
                replica.kill_group()
            reaper.end(self.plan.uid)
            if self.scratch:
                shutil.rmtree(self.scratch, ignore_errors=True)

    def turn(self) -> None:
        """One look at everything."""
        if not (self.folder / "state.json").exists():
            self.end("Cancelled", "the job's folder was deleted", grace_s=0)
        self.reap()
        self.read_progress()
        self.read_control()
        self.check_deadline()
        self.check_followers()
        if self.ending is None:
            self.start_due()
        else:
            self.go_on_ending(self.ending)

    def is_over(self) -> bool:
        """Whether the job has its outcome and no process is left."""
        return self.state in FINAL and not any(r.is_alive for r in self.replicas)

    # -- starting --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts all replicas for the first time, or again after a suspension."""
        self.began_at = time.time()
        self.choose_ports()
        for replica in self.replicas:
            replica.due_at = 0.0
            replica.status.phase = "Pending"
            replica.status.exit_code = None
        self.save("Running", "")
        self.start_due()

    def choose_ports(self) -> None:
        if self.plan.distributed:
            names = [replica.name for replica in self.replicas]
            self.ports = dict(zip(names, free_ports(len(names)), strict=True))

    def start_due(self) -> None:
        """Starts what waits for its moment."""
        now = time.time()
        for replica in self.replicas:
            if replica.due_at is None or replica.due_at > now or self.state == "Suspended":
                continue
            env = replica_environment(self.plan, replica.plan, self.ports, self.folder, self.scratch)
            if replica.launch(self.plan, env):
                kind = "started" if replica.start == 0 else "restarted"
                self.tell(kind, f"{replica.name} {kind}", replica=replica.name, restart=replica.start)
                self.save()
            else:
                self.settle(replica)

    # -- ends ------------------------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Takes notice of every replica that has ended."""
        for replica in self.replicas:
            if replica.reap(self.plan.uid) is not None:
                self.settle(replica)

    def settle(self, replica: Replica) -> None:
        """Decides what a replica's end means for it and for the job."""
        end, status = replica.last_end, replica.status
        assert end is not None
        if self.ending is not None:
            status.phase = "Succeeded" if end.exit_code == 0 and not replica.stopped_by_us else "Stopped"
            self.save()
            return
        if self.port_was_taken(replica):
            return
        status.failures += end.exit_code != 0
        self.tell("ended", f"{replica.name} ended: {end.reason}, exit code {end.exit_code}", replica=replica.name,
                  exit_code=end.exit_code, restart=replica.start)  # fmt: skip
        fate = after_exit(status.policy, end.exit_code, retries_failures=self.plan.retries_failures)
        status.phase = {"done": "Succeeded", "failed": "Failed", "restart": "Restarting"}[fate]  # type: ignore[assignment]
        if end.exit_code and self.first_failure is None:
            self.first_failure = first_failure_of(self.folder, replica)
        if fate == "restart":
            self.restart(replica)
        self.save()
        self.decide()

    def restart(self, replica: Replica) -> None:
        """Plans the next start, or ends the job at its backoff limit."""
        status, end = replica.status, replica.last_end
        assert end is not None
        status.restarts += 1
        if exceeds_backoff(self.plan.backoff_limit, [r.status for r in self.replicas],
                           retries_failures=self.plan.retries_failures):  # fmt: skip
            status.phase = "Failed"
            self.first_failure = first_failure_of(self.folder, replica)
            self.end("Failed", f"backoffLimit {self.plan.backoff_limit} is reached")
            return
        is_quick = end.at - replica.started_at < QUICK_DEATH_S
        replica.quick_deaths = replica.quick_deaths + 1 if is_quick else 0
        replica.due_at = time.time() + restart_delay(replica.quick_deaths)

    def port_was_taken(self, replica: Replica) -> bool:
        """Starts everything anew on other ports where a stranger took the replica's; not a restart that counts."""
        port = self.ports.get(replica.name)
        if port is None or replica.status.exit_code == 0 or is_free(port) or self.port_tries >= PORT_TRIES:
            return False
        self.port_tries += 1
        self.tell("restarted", f"port {port} of {replica.name} was taken; all replicas start again on other ports")
        for other in self.replicas:
            other.stopped_by_us = True
            other.kill_group()
            if other.process is not None:
                other.process.wait()
                other.reap(self.plan.uid)
        self.first_failure = None
        self.begin()
        return True

    def decide(self) -> None:
        """Ends the job when the operator would."""
        verdict = judge(self.plan.success, [replica.status for replica in self.replicas])
        if verdict.state == "Failed":
            self.end("Failed", verdict.message)
        elif verdict.state == "Succeeded":
            self.end("Succeeded", verdict.message)

    # -- ending ----------------------------------------------------------------------------------------------------

    def end(self, state: str, message: str, *, reason: str = "", grace_s: float | None = None) -> None:
        """Begins to end the job; the first to ask decides how."""
        if self.ending is not None:
            return
        for replica in self.replicas:
            replica.due_at = None
        grace = max((r.plan.grace_s for r in self.replicas), default=0.0) if grace_s is None else grace_s
        self.ending = Ending(state, message, reason, kill_at=time.time() + grace)
        if state == "Succeeded" and self.plan.clean_pods == "None" and any(r.is_alive for r in self.replicas):
            left = ", ".join(r.name for r in self.replicas if r.is_alive)
            self.tell("lingering", f"{left} left running by cleanPodPolicy None; ended with the last follower")
            self.ending.lingers = True
            self.finish(self.ending)
            return
        self.save()
        for replica in self.replicas:
            replica.ask_to_end()

    def go_on_ending(self, ending: Ending) -> None:
        """Kills what ignores SIGTERM, and writes the outcome when nothing is left."""
        if ending.lingers:
            return
        if any(replica.is_alive for replica in self.replicas):
            if time.time() >= ending.kill_at:
                for replica in self.replicas:
                    replica.kill_group()
            return
        reaper.end(self.plan.uid)
        self.finish(ending)

    def finish(self, ending: Ending) -> None:
        """Writes the state that the job ended in; once, also where replicas lingered behind it."""
        if self.state in FINAL:
            return
        if ending.state == "Suspended":
            self.ending = None
            self.save("Suspended", ending.message)
            self.tell("suspended", "suspended: replicas are stopped, the job is kept")
            return
        if ending.state == "Failed" and (self.first_failure is None or ending.reason):
            leader = self.replicas[0] if self.replicas else None
            self.first_failure = first_failure_of(self.folder, leader, ending.reason or "Error")
        if ending.state == "Succeeded":
            self.first_failure = None
        self.tell(ending.state.lower(), f"{self.plan.name} {ending.state.lower()}: {ending.message}")
        if self.plan.clean_pods == "All" and not ending.lingers:
            for replica in self.replicas:
                shutil.rmtree(replica.private / "work", ignore_errors=True)
        self.save(ending.state, ending.message)

    # -- what comes from outside -----------------------------------------------------------------------------------

    def read_progress(self) -> None:
        """Turns progress lines into events, and lets faults strike."""
        for replica in self.replicas:
            if replica.start < 0:
                continue
            running_s = time.time() - replica.started_at
            for name, start, document in replica.progress():
                message = " ".join(f"{k}={v}" for k, v in document.items() if isinstance(v, int | float | str))
                self.tell("progress", f"{name}: {message}", **{**document, "replica": name, "restart": start})
                self.strike(name, running_s, document)
            if replica.is_alive:
                self.strike(replica.name, running_s, None)

    def strike(self, name: str, running_s: float, document: dict[str, Any] | None) -> None:
        for fault in self.faults:
            victim = next((r for r in self.replicas if r.name == name and r.is_alive), None)
            pids = [victim.process.pid] if victim and victim.process else reaper.find(self.plan.uid, name)
            if pids and self.ending is None and fault.strikes(name, running_s, document):
                fault.left -= 1
                self.tell("fault", f"fault injected: {fault.text}", replica=name)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pids[-1], fault.signal)

    def read_control(self) -> None:
        """Does what a follower asked for."""
        with contextlib.suppress(FileNotFoundError):
            changed = (self.folder / "control.json").stat().st_mtime_ns
            if changed == self.control_seen:
                return
            self.control_seen = changed
            asked = self.folder.read("control.json") or {}
            if asked.get("do") == "end":
                self.end(asked["state"], asked["message"], reason=asked.get("reason", ""))
            elif asked.get("do") == "suspend" and self.state == "Running":
                self.end("Suspended", "suspended on request")
            elif asked.get("do") == "resume" and self.state == "Suspended":
                self.tell("resumed", "resumed")
                self.begin()

    def check_deadline(self) -> None:
        limit = self.plan.active_deadline_s
        if limit is not None and self.state == "Running" and time.time() - self.began_at > limit:
            self.end("Failed", f"active longer than activeDeadlineSeconds {limit}", reason="Deadline")

    def check_followers(self) -> None:
        """Ends the job when nobody follows it any more."""
        now = time.monotonic()
        if now < self.next_orphan_check or (self.ending is not None and not self.ending.lingers):
            return
        self.next_orphan_check = now + ORPHAN_CHECK_S
        try:
            descriptor = os.open(self.folder / "followers.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Said while the lock is held: whoever comes now waits for it, and then reads that the job ends.
            if self.ending is not None:
                self.ending.lingers = False
                self.let_go()
            else:
                self.end("Cancelled", "nobody follows it any more: the step that started it is gone")
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)

    def let_go(self) -> None:
        """Ends the replicas that a succeeded job left running."""
        for replica in self.replicas:
            replica.ask_to_end()

    # -- records ---------------------------------------------------------------------------------------------------

    def tell(self, kind: str, message: str, **data: Any) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.folder.tell(kind, message, **data)

    def save(self, state: str | None = None, message: str | None = None) -> None:
        """Writes state.json; a deleted folder stays deleted."""
        self.state = state or self.state
        self.message = self.message if message is None else message
        document = {
            "name": self.plan.name,
            "state": self.state,
            "ending": self.ending.state if self.ending else "",
            "message": self.message,
            "pid": os.getpid(),
            "created_at": self.created_at,
            "updated_at": time.time(),
            "restarts": sum(replica.status.restarts for replica in self.replicas),
            "first_failure": self.first_failure,
            "replicas": {replica.name: replica.describe() for replica in self.replicas},
        }
        with contextlib.suppress(FileNotFoundError):
            self.folder.write("state.json", document)


def main(arguments: list[str]) -> int:
    """Entry point; the caller hands over the locked `supervisor.lock` as an open descriptor."""
    Supervisor(JobFolder(Path(arguments[0]))).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
