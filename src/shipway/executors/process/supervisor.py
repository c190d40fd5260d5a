"""Plays one job to its end: `python -m shipway.executors.process.supervisor <job folder> <its lock's descriptor>`.

A process of its own per job, in its own session, so that the job has one parent that any number of followers can come
to and go from. It lives as long as somebody follows the job, and takes all replicas with it. It has one thread: the
parent-death signal that replicas carry fires when the *thread* that started them ends.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from shipway.errors import UserError
from shipway.executors.process import reaper
from shipway.executors.process.cluster import replica_environment
from shipway.executors.process.ending import Ending, Failures
from shipway.executors.process.faults import parse_fault
from shipway.executors.process.folder import FINAL, JobFolder
from shipway.executors.process.outside import Outside
from shipway.executors.process.plan import JobPlan
from shipway.executors.process.ports import free_ports, is_free
from shipway.executors.process.replica import Replica
from shipway.executors.process.rules import Status, after_exit, exceeds_backoff, judge, restart_delay
from shipway.executors.process.telemetry import Telemetry

POLL_S = 0.1
QUICK_DEATH_S = 10.0
PORT_TRIES = 5


class Supervisor:
    """The job's state machine; `run` returns when the job has ended and no process of it is left."""

    def __init__(self, folder: JobFolder, plan: JobPlan, outside: Outside) -> None:
        self.folder = folder
        self.plan = plan
        self.replicas = [
            Replica(part, folder, Status(part.name, part.role, part.index, part.restart_policy))
            for part in plan.replicas
        ]
        self.outside = outside
        self.telemetry = Telemetry(plan, self.replicas, [parse_fault(text) for text in plan.faults], self.tell)
        self.failures = Failures(folder, self.replicas)
        self.state, self.message = "Pending", ""
        self.created_at = float(folder.state().get("created_at", time.time()))
        self.began_at = time.monotonic()
        self.ending: Ending | None = None
        self.ports: dict[str, int] = {}
        self.port_tries = 0
        # Open MPI's session folder holds socket paths, which must stay short.
        self.scratch = reaper.scratch(plan.uid) if plan.mpi else None
        if self.scratch:
            self.scratch.mkdir(mode=0o700)

    def run(self) -> None:
        """Plays the job."""
        wake, wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self.end("Cancelled", "the supervisor was asked to end (SIGTERM)"))
        try:
            if self.plan.suspended:
                self.save("Suspended", "created suspended")
            else:
                self.begin()
            while not self.is_over():
                select.select([wake], [], [], POLL_S)
                with suppress(BlockingIOError):
                    os.read(wake, 4096)
                self.turn()
        finally:
            for replica in self.replicas:
                replica.kill_group()
            reaper.end(self.plan.uid)
            reaper.clear(self.plan.uid)

    def turn(self) -> None:
        """One look at everything."""
        if not self.outside.is_ours():
            self.end("Cancelled", "the job's folder was deleted", grace_s=0)
        self.reap()
        self.telemetry.read(may_strike=self.ending is None)
        self.obey(self.outside.request())
        self.check_deadline()
        self.check_followers()
        if self.ending is None:
            self.start_due()
        elif not self.ending.lingers:
            self.go_on_ending(self.ending)

    def is_over(self) -> bool:
        """Whether the job has its outcome and no process is left."""
        return self.state in FINAL and not any(replica.is_alive for replica in self.replicas)

    # -- starting --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts all replicas for the first time, again after a suspension, or again on other ports."""
        self.began_at = time.monotonic()
        if self.plan.distributed:
            names = [replica.name for replica in self.replicas]
            self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        for replica in self.replicas:
            replica.due_at = 0.0
            replica.status.phase = "Pending"
            replica.status.exit_code = None
        self.save("Running", "")
        self.start_due()

    def start_due(self) -> None:
        """Starts what waits for its moment."""
        for replica in self.replicas:
            if replica.due_at is None or replica.due_at > time.monotonic() or self.ending is not None:
                continue
            env = replica_environment(self.plan, replica.plan, self.ports, self.folder, self.scratch)
            if replica.launch(self.plan, env):
                kind = "started" if replica.start == 0 else "restarted"
                self.tell(kind, f"{replica.name} {kind}", replica=replica.name, restart=replica.start)
                self.save()
            else:
                self.settle(replica)

    # -- ends of replicas ------------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Takes notice of every replica that has ended; what may be a consequence comes last."""
        ended = [replica for replica in self.replicas if replica.reap(self.plan.uid)]
        for replica in sorted(ended, key=Failures.likely_first):
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
        facts = {"replica": replica.name, "restart": replica.start, "exit_code": end.exit_code}
        self.tell("ended", f"{replica.name} ended: {end.reason}, exit code {end.exit_code}", **facts)
        if end.exit_code:
            status.failures += 1
            self.failures.note(replica)
        if self.is_mistake(end.exit_code):
            status.phase = "Failed"
            self.end("Failed", f"{replica.name} ended with a user's mistake, which another start would not mend")
            return
        match after_exit(status.policy, end.exit_code, retries_failures=self.plan.retries_failures):
            case "done":
                status.phase = "Succeeded"
            case "failed":
                status.phase = "Failed"
            case "restart":
                self.restart(replica)
        self.save()
        self.decide()

    def is_mistake(self, code: int) -> bool:
        """Whether that end, or that of a launcher's first rank to fail, is final by the annotation."""
        first = (self.failures.first or {}).get("exit_code")
        return self.plan.mistakes_are_final and code != 0 and UserError.exit_code in (code, first)

    def restart(self, replica: Replica) -> None:
        """Plans the next start, or ends the job at its backoff limit."""
        status, end = replica.status, replica.last_end
        assert end is not None
        status.phase = "Restarting"
        status.restarts += 1
        limit = self.plan.backoff_limit
        all_of_them = [other.status for other in self.replicas]
        if exceeds_backoff(limit, all_of_them, retries_failures=self.plan.retries_failures):
            status.phase = "Failed"
            status.restarts -= self.plan.retries_failures  # a batch Job makes no pod beyond its limit
            self.end("Failed", f"{replica.name} ended again and backoffLimit {limit} is reached")
            return
        replica.quick_deaths = replica.quick_deaths + 1 if end.at - replica.started_at < QUICK_DEATH_S else 0
        replica.due_at = time.monotonic() + restart_delay(replica.quick_deaths)

    def port_was_taken(self, replica: Replica) -> bool:
        """Starts everything anew on other ports where a stranger took the replica's; not a restart that counts."""
        port = self.ports.get(replica.name)
        if port is None or replica.status.exit_code == 0 or self.port_tries >= PORT_TRIES or is_free(port):
            return False
        self.port_tries += 1
        self.tell("restarted", f"port {port} of {replica.name} was taken; all replicas start again on other ports")
        for other in self.replicas:
            other.kill_group()
            if other.process is not None:
                other.process.wait()
                other.reap(self.plan.uid)
        self.begin()
        return True

    def decide(self) -> None:
        """Ends the job when the operator would."""
        verdict = judge(self.plan.success, [replica.status for replica in self.replicas])
        if verdict.state != "Running":
            self.end(verdict.state, verdict.message)

    # -- the end of the job ----------------------------------------------------------------------------------------

    def end(self, state: str, message: str, *, reason: str = "", grace_s: float | None = None) -> None:
        """Begins to end the job; the first to ask decides how."""
        if self.ending is not None:
            return
        for replica in self.replicas:
            replica.due_at = None
        grace = max((r.plan.grace_s for r in self.replicas), default=0.0) if grace_s is None else grace_s
        self.ending = Ending(state, message, reason, kill_at=time.monotonic() + grace)
        left = [replica for replica in self.replicas if replica.is_alive]
        if state == "Succeeded" and self.plan.clean_pods == "None" and left:
            names = ", ".join(replica.name for replica in left)
            self.tell("lingering", f"{names} left running by cleanPodPolicy None; ended with the last follower")
            self.ending.lingers = True
            self.finish(self.ending)
            return
        self.save()
        for replica in left:
            replica.ask_to_end()

    def go_on_ending(self, ending: Ending) -> None:
        """Kills what ignores SIGTERM, and writes the outcome when nothing is left."""
        if not any(replica.is_alive for replica in self.replicas):
            reaper.end(self.plan.uid)
            self.finish(ending)
        elif time.monotonic() >= ending.kill_at:
            for replica in self.replicas:
                replica.kill_group()

    def finish(self, ending: Ending) -> None:
        """Writes the state that the job ended in; once, also where replicas lingered behind it."""
        if self.state in FINAL:
            return
        if ending.state == "Suspended":
            self.ending = None
            self.tell("suspended", "suspended: replicas are stopped, the job is kept")
            self.save("Suspended", ending.message)
            return
        self.telemetry.read(may_strike=False)
        self.failures.conclude(ending)
        self.tell(ending.state.lower(), f"{self.plan.name} {ending.state.lower()}: {ending.message}")
        if self.plan.clean_pods == "All":
            for replica in self.replicas:
                shutil.rmtree(replica.private / "work", ignore_errors=True)
        self.save(ending.state, ending.message)

    # -- what comes from outside -----------------------------------------------------------------------------------

    def obey(self, request: dict[str, Any]) -> None:
        """Does what a follower asked for."""
        match request.get("do"):
            case "end":
                self.end(request["state"], request["message"], reason=request.get("reason", ""))
            case "suspend" if self.state == "Running":
                self.end("Suspended", "suspended on request")
            case "resume" if self.state == "Suspended":
                self.tell("resumed", "resumed: replicas start again")
                self.begin()

    def check_deadline(self) -> None:
        """Keeps activeDeadlineSeconds, which the operator itself looks at only when something else happens."""
        limit = self.plan.active_deadline_s
        if limit is not None and self.state == "Running" and time.monotonic() - self.began_at > limit:
            self.end("Failed", f"active longer than activeDeadlineSeconds {limit}", reason="Deadline")

    def check_followers(self) -> None:
        """Ends what nobody follows any more."""
        if self.ending is not None and not self.ending.lingers:
            return
        with self.outside.followers_gone() as are_gone:
            if are_gone and self.ending is None:
                self.end("Cancelled", "nobody follows it any more: the step that started it is gone")
            elif are_gone and self.ending is not None:
                self.ending.lingers = False
                self.save()
                for replica in self.replicas:
                    replica.ask_to_end()

    # -- records ---------------------------------------------------------------------------------------------------

    def tell(self, kind: str, message: str, **data: Any) -> None:
        """Appends an event; a deleted folder stays deleted, and a full disk is noticed by `save`."""
        if self.outside.is_ours():
            with suppress(OSError):
                self.folder.tell(kind, message, **data)

    def save(self, state: str | None = None, message: str | None = None) -> None:
        """Writes state.json, with a new state and message where given."""
        self.state = state or self.state
        self.message = self.message if message is None else message
        document = {
            "name": self.plan.name,
            "state": self.state,
            "ending": self.ending.state if self.ending else "",
            "lingers": bool(self.ending and self.ending.lingers),
            "message": self.message,
            "pid": os.getpid(),
            "created_at": self.created_at,
            "updated_at": time.time(),
            "restarts": sum(replica.status.restarts for replica in self.replicas),
            "first_failure": self.failures.first,
            "replicas": {replica.name: replica.describe() for replica in self.replicas},
        }
        if self.outside.is_ours():
            with suppress(FileNotFoundError):
                self.folder.write("state.json", document)


def main(arguments: list[str]) -> int:
    """Entry point; the caller hands over the locked `supervisor.lock` as an open descriptor."""
    folder = JobFolder(Path(arguments[0]))
    outside = Outside(folder, int(arguments[1]))
    try:
        plan = JobPlan.from_json((folder / "plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError:  # the job was deleted before this process could look
        return 0
    if outside.is_ours():  # asked after the plan was read, which may be a successor's
        Supervisor(folder, plan, outside).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
