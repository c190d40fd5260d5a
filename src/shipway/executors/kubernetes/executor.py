"""The executor that applies manifests to a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty
from typing import Any

from shipway.context import Context
from shipway.errors import InvalidSpec, NotFound, UserError
from shipway.executors import identity
from shipway.executors.base import DELETED, Handle, LogLine, Manifest, OnEvent, Outcome, ReplicaFailure
from shipway.executors.kubernetes import attempts, logs, mpi, nodes, services, troubles
from shipway.executors.kubernetes.api import Api, ApiError, explain
from shipway.executors.kubernetes.attempts import Attempts
from shipway.executors.kubernetes.kinds import PODS, SERVICE, Kind, kind_named, kind_of
from shipway.executors.kubernetes.progress import Progress
from shipway.executors.kubernetes.rendering import JOB, invocation
from shipway.executors.kubernetes.states import DISRUPTIONS, times
from shipway.executors.kubernetes.view import View
from shipway.executors.kubernetes.watching import Change, Changes, Listed, Trouble, changes_of, slim
from shipway.executors.outcomes import OutcomeRecord, read_outcome, write_outcome

TICK_S = 1.0
PODS_AFTER_S = 2.0  # the job's end and its pods' come by two watches
STALL_S = 10.0  # a job without any pod for so long: its events may say why
QUIET_S = 900.0  # an API server that is away for longer is given up
CANCEL_S = 60.0
BRIEF_S = 3.0
UNSEEN_S = 5.0  # within it the watch tells of a job that we made
REFUSED_S = 5.0  # a Role that was just bound may be refused a moment longer
NOBODY = ReplicaFailure("", None, "")


@dataclass
class _Wait:
    """Where one `follow` stands."""

    view: View
    began: float
    deadline_s: float | None
    progress: Progress | None
    listed: int = 0
    ended_at: float = 0.0
    next_stall: float = STALL_S
    logs_are_kept: bool = False


class KubernetesExecutor:
    """Applies TFJob, MPIJob, batch Job, Experiment and InferenceService, and follows them (`Executor` in base.py).

    Jobs outlive the process that made them: a step that is started again adopts what it finds. What ends the job of
    a step that never comes back is its lease.

    Args:
        context: Gives the namespace, and where outcome records go.
        api: Default: the cluster that the surroundings name.
    """

    def __init__(self, context: Context, api: Api | None = None) -> None:
        self.context = context
        self.api = api or Api()
        self._kinds: dict[str, Kind] = {}

    def ensure(self, manifest: Manifest, *, backoff_limit: int = 0) -> Handle:
        """Creates the job, or adopts the one of the same name and spec hash; see `Executor.ensure`.

        Raises:
            InvalidSpec: what the API server or a webhook refuses, in its words.
            Conflict: a job of that name with another spec.
            UserError: no cluster, no permission, quota used up, kind or namespace missing.
        """
        kind = kind_of(manifest)
        identity.base_name(manifest)
        if kind.name == SERVICE:
            return services.ensure(self.api, self.context, manifest)
        served = mpi.as_served(self.api, manifest)
        kind = kind_of(served)
        handle = Attempts(self.api, self.context, kind, served, backoff_limit, identity.spec_hash(manifest)).ensure()
        self._kinds[handle.name] = kind
        return handle

    def check(self, manifest: Manifest) -> None:
        """Has the cluster judge a manifest without creating anything; raises as `ensure` does.

        Raises:
            InvalidSpec: no node has what a replica asks for, too.
        """
        kind_of(manifest)
        identity.base_name(manifest)
        nodes.check(self.api, manifest)
        served = mpi.as_served(self.api, manifest)
        attempts.check(self.api, self.context, kind_of(served), served)

    def follow(self, handle: Handle, *, on_event: OnEvent | None = None, deadline_s: float | None = None) -> Outcome:
        """Waits for the end; see `Executor.follow`.

        Raises:
            NotFound: the job is neither in the cluster nor recorded in object storage.
            UserError: the API server is away for a quarter of an hour.
        """
        if handle.kind == SERVICE:
            return services.follow(self.api, self.context, handle, on_event=on_event, deadline_s=deadline_s)
        tell = on_event or (lambda _event: None)
        progress = Progress(self.context, handle) if on_event else None
        wait = _Wait(View(handle, tell), time.monotonic(), deadline_s, progress)
        if handle.adopted:
            wait.view.tell("adopted", f"{handle.kind} {handle.name} was already there; following it")
        with changes_of(self.api, self._kind(handle), handle.namespace, handle.name) as changes:
            outcome = self._wait(wait, changes)
        if outcome is None:
            return self._vanished(handle, wait)
        if not wait.logs_are_kept:
            logs.keep(self.api, self.context, handle, wait.view.earlier, known=wait.view.pods)
        self._record(handle, outcome)
        return outcome

    def logs(self, handle: Handle, *, replica: str | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Lines of every replica: from its pod, and what was kept when the job ended; see `Executor.logs`."""
        return logs.read(self.api, self.context, handle, replica=replica, follow=follow)

    def cancel(self, handle: Handle) -> None:
        """Ends the job and waits until its pods are gone; safe to call twice, prints nothing.

        The first thing sent is the DELETE: a step that is being stopped may have no time for more.
        """
        if handle.kind == SERVICE:
            services.cancel(self.api, handle)
            return
        if self._delete(handle):
            self._record(handle, Outcome("Cancelled", message="cancelled on request"))
            logs.keep(
                self.api, self.context, handle, to_the_end=True
            )  # a replica may use its grace to save, and say so
        self._await_no_pods(handle, CANCEL_S)

    def status(self, handle: Handle) -> dict[str, Any]:
        """The status of the job's object, as its operator wrote it; empty where the object is gone."""
        existing = self.api.find(self._kind(handle).path(handle.namespace, handle.name))
        return dict((existing or {}).get("status") or {})

    def suspend(self, handle: Handle) -> None:
        """Stops the replicas and waits until they are gone; keeps the job."""
        self._set_suspended(handle, True)
        self._await_no_pods(handle, CANCEL_S)

    def resume(self, handle: Handle) -> None:
        """Starts a suspended job's replicas again."""
        self._set_suspended(handle, False)

    # -- private ---------------------------------------------------------------------------------------------------

    def _kind(self, handle: Handle) -> Kind:
        """The kind of a handle; which version of MPIJob, says the cluster."""
        known = self._kinds.get(handle.name)
        if known is None:
            known = kind_named(handle.kind)
            if handle.kind == "MPIJob" and self.api.find(known.path(handle.namespace)) is None:
                known = kind_named(handle.kind, "kubeflow.org/v2beta1")
            self._kinds[handle.name] = known
        return known

    def _wait(self, wait: _Wait, changes: Changes) -> Outcome | None:
        """The outcome; None: the job is not there (any more)."""
        view = wait.view
        while True:
            self.api.keep_open()
            news = self._next(changes, wait)
            if isinstance(news, Change):
                view.take(news)
            elif isinstance(news, Listed):
                wait.listed += 1
            elif isinstance(news, Trouble):
                view.tell_once("warning", f"the cluster does not answer, waiting goes on: {news.message}")
                if news.refused is not None and time.monotonic() - news.since > REFUSED_S:
                    what = f"{view.handle.kind} {view.handle.name}"
                    raise explain(news.refused, what, view.handle.namespace) from news.refused
                if time.monotonic() - news.since > QUIET_S:
                    raise UserError(
                        f"away for {QUIET_S:g} s ({news.message})",
                        field=f"cluster {self.api.host}",
                        fix="run this again",
                    )
            if wait.progress is not None:
                for event in wait.progress.events(last=view.state in ("Succeeded", "Failed")):
                    view.on_event(event)
            outcome = self._ended(wait)
            if outcome is not None or view.is_gone or self._is_missing(wait):
                return outcome

    def _is_missing(self, wait: _Wait) -> bool:
        """Whether there is no such job. One that was just made may be newer than what the watch has told so far: it is
        waited for, since a thousand jobs that are begun together would be a thousand questions."""
        view = wait.view
        if wait.listed < 2 or view.was_seen:
            return False
        if not view.handle.adopted and time.monotonic() - wait.began < UNSEEN_S:
            return False
        self._look(view)
        return not view.was_seen

    def _look(self, view: View) -> None:
        handle = view.handle
        try:
            job = self.api.find(self._kind(handle).path(handle.namespace, handle.name))
        except ApiError as error:
            raise explain(error, f"{handle.kind} {handle.name}", handle.namespace) from error
        if job is not None:
            view.take(Change(handle.kind, slim(job)))

    def _next(self, changes: Changes, wait: _Wait) -> Change | Trouble | Listed | None:
        try:
            return changes.get(timeout=0.1 if wait.ended_at else TICK_S)
        except Empty:
            return None

    def _ended(self, wait: _Wait) -> Outcome | None:
        view, now = wait.view, time.monotonic()
        if view.job is None:
            return None
        if view.state in ("Succeeded", "Failed"):
            wait.ended_at = wait.ended_at or now
            if view.state == "Succeeded" or view.failures or view.taken or now - wait.ended_at > PODS_AFTER_S:
                return view.outcome(view.state)
            return None
        stuck = view.stuck(now)
        if stuck is not None:
            return self._given_up(wait, f"{stuck.replica} cannot start: {stuck.reason}", stuck)
        doomed = view.doomed()
        if doomed is not None:
            return self._given_up(wait, *doomed)
        late = self._lateness(wait, now)
        if late:
            return self._given_up(wait, late)
        if not view.replicas and view.state == "Pending" and now - wait.began > wait.next_stall:
            wait.next_stall *= 2
            self._tell_why_no_pods(view)
        return None

    def _lateness(self, wait: _Wait, now: float) -> str:
        """What deadline has passed; the operator's own fires only when the job changes."""
        assert wait.view.job is not None
        if wait.deadline_s is not None and now - wait.began > wait.deadline_s:
            return f"not finished within deadline_s {wait.deadline_s:g}"
        spec = wait.view.job["spec"]
        limit = (spec.get("runPolicy") or {}).get("activeDeadlineSeconds") or spec.get("activeDeadlineSeconds")
        started, _ = times(wait.view.job)
        if limit and started and wait.view.state != "Suspended" and self.api.now() - started > float(limit) + 1:
            return f"not finished within activeDeadlineSeconds {limit}"
        return ""

    def _given_up(self, wait: _Wait, message: str, failure: ReplicaFailure | None = None) -> Outcome:
        view = wait.view
        outcome = view.outcome("Failed", message, reason="Deadline")
        first = failure or outcome.first_failure
        if first is not None and not first.last_lines:
            lines = logs.last_lines(self.api, view.handle, first.replica)
            first = ReplicaFailure(first.replica, first.exit_code, first.reason, lines)
        if first is not None and first.reason not in ("Deadline", *([failure.reason] if failure else [])):
            message = f"{message}; {first.replica} waits: {first.reason}"
        self._delete(view.handle)
        # Once its pods are gone there is nothing to read: their last words come before that.
        logs.keep(self.api, self.context, view.handle, view.earlier, known=view.pods, to_the_end=True)
        wait.logs_are_kept = True
        self._await_no_pods(view.handle, CANCEL_S)
        view.tell("failed", message)
        return Outcome("Failed", time.monotonic() - wait.began, view.restarts, first, message)

    def _tell_why_no_pods(self, view: View) -> None:
        why = troubles.of(self.api, view.handle)
        if why is not None:
            view.tell_once("waiting", f"no replica yet: {why.reason}: {why.message}", reason=why.reason)

    def _vanished(self, handle: Handle, wait: _Wait) -> Outcome:
        """A job that is gone: ended and forgotten, cancelled by whoever wrote so, or deleted by somebody."""
        base = identity.attempt_of(handle)[0]
        until = time.monotonic() + (BRIEF_S if wait.view.was_seen else 0.0)
        while True:
            for candidate in (handle.name, base):
                record = read_outcome(self.context.store_uri, candidate)
                if record and record.name == handle.name and record.spec_hash == handle.spec_hash:
                    return record.outcome
            if time.monotonic() >= until:
                break
            time.sleep(0.2)
        if not wait.view.was_seen:
            raise NotFound(
                f"neither in namespace {handle.namespace} nor recorded in object storage", field=f"job {handle.name}"
            )
        message = f"{handle.kind} {handle.name} was deleted by somebody while it ran"
        wait.view.tell("failed", message)
        failure = ReplicaFailure("", None, DELETED, [])
        return Outcome("Failed", time.monotonic() - wait.began, wait.view.restarts, failure, message)

    def _record(self, handle: Handle, outcome: Outcome) -> None:
        base, attempt = identity.attempt_of(handle)
        before = read_outcome(self.context.store_uri, base)
        if before is not None and before.name == handle.name and before.outcome.state in ("Succeeded", "Failed"):
            return  # another follower was first, or it ended before it was cancelled
        is_same = before is not None and before.invocation == invocation() and before.spec_hash == handle.spec_hash
        is_fault = outcome.state == "Failed" and (outcome.first_failure or NOBODY).reason not in DISRUPTIONS
        failures = (before.failures if before is not None and is_same else 0) + is_fault
        record = OutcomeRecord(handle.name, attempt, handle.spec_hash, failures, outcome, invocation=invocation())
        write_outcome(self.context.store_uri, base, record)

    def _delete(self, handle: Handle) -> bool:
        """Deletes a job that has not ended; False for one that is not there."""
        try:
            return self.api.delete(self._kind(handle).path(handle.namespace, handle.name))
        except ApiError as error:
            raise explain(error, f"{handle.kind} {handle.name}", handle.namespace) from error

    def _await_no_pods(self, handle: Handle, limit_s: float) -> None:
        """Until the operator has taken the replicas away; what ended by itself holds nothing and may stay."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until and self._running_pods(handle):
            time.sleep(0.3)

    def _running_pods(self, handle: Handle) -> list[dict[str, Any]]:
        try:
            pods = self.api.get(PODS.path(handle.namespace), labelSelector=f"{JOB}={handle.name}")["items"]
        except ApiError as error:
            raise explain(error, f"pods of {handle.kind} {handle.name}", handle.namespace) from error
        # One that is being deleted counts too: resumed at that moment, the operator takes its end for a failure.
        return [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")
                or "deletionTimestamp" in pod["metadata"]]  # fmt: skip

    def _set_suspended(self, handle: Handle, value: bool) -> None:
        kind = self._kind(handle)
        if not kind.suspend:
            raise InvalidSpec("cannot be suspended and resumed", field=f"{handle.kind} {handle.name}")
        body: Any = value
        for field in reversed(kind.suspend):
            body = {field: body}
        try:
            self.api.patch(kind.path(handle.namespace, handle.name), body)
        except ApiError as error:
            if error.status == 404:
                raise NotFound("is not running; nothing to suspend or resume", field=f"job {handle.name}") from error
            raise explain(error, f"{handle.kind} {handle.name}", handle.namespace) from error
