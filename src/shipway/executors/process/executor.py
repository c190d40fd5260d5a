"""The executor that plays manifests with processes of this machine."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shipway.context import Context
from shipway.errors import InvalidSpec, NotFound
from shipway.executors import identity
from shipway.executors.base import Event, Handle, LogLine, Manifest, OnEvent, Outcome, ReplicaFailure
from shipway.executors.outcomes import OutcomeRecord, outcome_from, read_outcome, write_outcome
from shipway.executors.process import leases, service
from shipway.executors.process.attempts import Attempts, bury, invocation, kill_supervisor, reap_children
from shipway.executors.process.environments import environments
from shipway.executors.process.faults import parse_fault
from shipway.executors.process.folder import FINAL, JobFolder, disk_errors
from shipway.executors.process.jobs import KINDS, read_job
from shipway.executors.process.logs import read_logs

POLL_S = 0.05
ALIVE_CHECK_S = 0.5
END_S = 5.0
SERVICE = "InferenceService"
EXPERIMENT = "Experiment"
CONTROLLER = "shipway.components.sweep.controller"  # by name: sweeps know executors, executors no sweeps


class ProcessExecutor:
    """Plays TFJob and MPIJob with processes, InferenceService with the model server (`Executor` in executors/base.py).

    It is given nothing but the manifest, and which environment of this machine stands for an image.

    Args:
        context: Where local state lies (`home`) and where outcome records go (`store_uri`).
    """

    def __init__(self, context: Context) -> None:
        self.context = replace(context, home=context.home.absolute())  # supervisors work elsewhere

    def ensure(self, manifest: Manifest, *, backoff_limit: int = 0) -> Handle:
        """Creates the job, or adopts the one of the same name and spec hash; see `Executor.ensure`.

        The job lives as long as a process that ensured or follows it.

        Raises:
            InvalidSpec: names the field that is wrong or cannot be honoured here.
            Conflict: a job of that name with another spec.
        """
        if isinstance(manifest, dict) and manifest.get("kind") == SERVICE:
            return service.ensure(self.context, manifest)
        if isinstance(manifest, dict) and manifest.get("kind") == EXPERIMENT:
            manifest = importlib.import_module(CONTROLLER).job(manifest, _check)
        base = identity.base_name(manifest)
        plan, notes = read_job(manifest, base, 0, environments())
        for clause in plan.faults:
            parse_fault(clause)
        with disk_errors(base, self.context.home):
            return Attempts(self.context, base).ensure(manifest, plan, notes, backoff_limit)

    def follow(self, handle: Handle, *, on_event: OnEvent | None = None, deadline_s: float | None = None) -> Outcome:
        """Waits for the end; see `Executor.follow`. An adopter, too, is given every event since the job's creation.

        Raises:
            NotFound: the job is neither on this machine nor recorded in object storage.
        """
        if handle.kind == SERVICE:
            return service.follow(self.context, handle, on_event=on_event, deadline_s=deadline_s)
        folder = self._folder(handle)
        try:
            lease = folder.lease()
        except FileNotFoundError:
            return self._recorded(handle)
        try:
            with disk_errors(handle.name, self.context.home):
                outcome = self._watch(handle, folder, on_event or (lambda _event: None), deadline_s)
        finally:
            os.close(lease)
        leases.let_go(folder)
        self._record(handle, folder, outcome)
        reap_children()
        return outcome

    def logs(self, handle: Handle, *, replica: str | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Lines of every replica and of every start; see `Executor.logs`."""
        if handle.kind == SERVICE:
            return service.logs(self.context, handle, follow=follow)
        return read_logs(self._folder(handle), replica, follow)

    def cancel(self, handle: Handle) -> None:
        """Ends the job and waits until its processes are gone; safe to call twice, prints nothing."""
        if handle.kind == SERVICE:
            service.cancel(self.context, handle)
            return
        folder = self._folder(handle)
        _ask_to_end(folder, "Cancelled", "cancelled on request")
        leases.let_go(folder)
        reap_children()

    def suspend(self, handle: Handle) -> None:
        """Stops the replicas and waits until they are gone; keeps the job."""
        self._control(handle, "suspend", ("Suspended", *FINAL))

    def resume(self, handle: Handle) -> None:
        """Starts a suspended job's replicas again."""
        self._control(handle, "resume", ("Running", *FINAL))

    def running(self) -> list[Handle]:
        """Handles of all jobs whose supervisor lives, for `shipway down`."""
        plans = sorted((self.context.home / "jobs").glob("*/plan.json"))
        return [self.find(path.parent.name) for path in plans if JobFolder(path.parent).is_supervised()]

    def find(self, name: str) -> Handle:
        """The handle of a job on this machine, by the name of its attempt.

        Raises:
            NotFound: there is none.
        """
        is_name = identity.DNS_1035.fullmatch(name) is not None  # never a path out of the folder of jobs
        document = JobFolder(self.context.home / "jobs" / name).read("plan.json") if is_name else None
        if document is None:
            raise NotFound(f"not on this machine; jobs lie in {self.context.home / 'jobs'}", field=f"job {name!r}")
        return Handle(document["kind"], name, document["namespace"], document["spec_hash"], adopted=True)

    # -- private ---------------------------------------------------------------------------------------------------

    def _watch(self, handle: Handle, folder: JobFolder, on_event: OnEvent, deadline_s: float | None) -> Outcome:
        began, offset, next_check, seen, state = time.monotonic(), 0, 0.0, -1, dict[str, Any]()
        if handle.adopted:
            on_event(Event(time.time(), "adopted", f"{handle.kind} {handle.name} was already there; following it"))
        while True:
            # The state is read before the events, so that the last ones are not missed.
            if (changed := folder.changed("state.json")) != seen:
                seen, state = changed, folder.state()
            events, offset = folder.events(offset)
            for event in events:
                on_event(event)
            if not state:
                return _deleted(handle, time.monotonic() - began)
            if state.get("state") in FINAL:
                _await_end(folder)
                return _outcome(state)
            now = time.monotonic()
            if deadline_s is not None and now - began > deadline_s:
                _ask_to_end(folder, "Failed", f"not finished within deadline_s {deadline_s:g}", reason="Deadline")
                deadline_s = None
            elif now >= next_check:
                next_check = now + ALIVE_CHECK_S
                if not folder.is_supervised():
                    bury(folder, "Failed")
                    continue
            time.sleep(POLL_S)

    def _record(self, handle: Handle, folder: JobFolder, outcome: Outcome) -> None:
        """Leaves the outcome in object storage, where it outlives this machine's folder."""
        document = folder.read("plan.json")
        if document is None:  # deleted by a person: nothing to remember
            return
        failures = Attempts(self.context, document["base"]).failures()
        record = OutcomeRecord(
            handle.name, document["attempt"], handle.spec_hash, failures, outcome, invocation=invocation()
        )
        problem = write_outcome(self.context.store_uri, document["base"], record)
        if problem and folder.path.exists():
            folder.tell("warning", f"outcome record not written: {problem}")

    def _recorded(self, handle: Handle) -> Outcome:
        base = identity.attempt_of(handle)[0]
        for candidate in (handle.name, base):  # a first attempt may itself be called `x-r1`
            record = read_outcome(self.context.store_uri, candidate)
            if record and record.name == handle.name and record.spec_hash == handle.spec_hash:
                return record.outcome
        raise NotFound(
            f"neither in {self.context.home / 'jobs'} nor recorded in object storage", field=f"job {handle.name}"
        )

    def _control(self, handle: Handle, do: str, until: tuple[str, ...]) -> None:
        if handle.kind not in KINDS:
            raise InvalidSpec(
                f"only {' and '.join(KINDS)} can be suspended and resumed", field=f"{handle.kind} {handle.name}"
            )
        folder = self._folder(handle)
        if not folder.is_supervised():
            raise NotFound(f"is not running; there is nothing to {do}", field=f"job {handle.name}")
        folder.write("control.json", {"do": do})
        while folder.is_supervised() and folder.state().get("state") not in until:
            time.sleep(POLL_S)

    def _folder(self, handle: Handle) -> JobFolder:
        return JobFolder(self.context.home / "jobs" / handle.name)


def _check(manifest: Manifest) -> None:
    """Refuses a job that could not be played, as `ensure` does."""
    read_job(manifest, identity.base_name(manifest), 0, environments())


def _ask_to_end(folder: JobFolder, state: str, message: str, reason: str = "") -> None:
    """Has the supervisor end the job, and waits for it; one that does not answer in time is killed with all it has."""
    if not folder.path.exists() or not folder.is_supervised() or folder.state().get("state") in FINAL:
        return
    folder.write("control.json", {"do": "end", "state": state, "message": message, "reason": reason})
    replicas = (folder.read("plan.json") or {}).get("replicas", [])
    until = time.monotonic() + max((replica["grace_s"] for replica in replicas), default=0.0) + END_S
    while folder.is_supervised() and folder.state().get("state", state) not in FINAL:
        if time.monotonic() > until:
            kill_supervisor(folder)
            bury(folder, state, f"{message}; its supervisor did not answer and was killed")
            return
        time.sleep(POLL_S)
    _await_end(folder)


def _await_end(folder: JobFolder) -> None:
    """Waits until the supervisor of an ended job is gone too, unless it looks after what cleanPodPolicy None left."""
    until = time.monotonic() + END_S
    while not folder.state().get("lingers") and folder.is_supervised() and time.monotonic() < until:
        time.sleep(POLL_S / 5)


def _outcome(state: dict[str, Any]) -> Outcome:
    seconds = float(state.get("updated_at", 0.0)) - float(state.get("created_at", 0.0))
    return outcome_from({**state, "seconds": round(max(seconds, 0.0), 3)})


def _deleted(handle: Handle, seconds: float) -> Outcome:
    message = f"job {handle.name} was deleted by somebody while it ran; run again to start it anew"
    return Outcome("Failed", round(seconds, 3), 0, ReplicaFailure("", None, "Deleted"), message)
