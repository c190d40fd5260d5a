"""Adopt, don't duplicate: which attempt of a job an `ensure` means, on a cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from shipway import labels
from shipway.context import Context
from shipway.errors import InvalidSpec, LeaseLapsed
from shipway.executors import identity
from shipway.executors.base import Handle, Manifest, Outcome
from shipway.executors.kubernetes.api import Api, ApiError, explain
from shipway.executors.kubernetes.kinds import PODS, Kind
from shipway.executors.kubernetes.own_pod import own_pod
from shipway.executors.kubernetes.peers import let_peers_speak
from shipway.executors.kubernetes.rendering import BASE, INVOCATION, JOB, invocation, rendered
from shipway.executors.kubernetes.states import job_state, pod_state
from shipway.executors.outcomes import OutcomeRecord, other_spec, read_outcome, write_outcome

GONE_S = 180.0  # for an object that is being deleted to be gone
POLL_S = 0.5


@dataclass(frozen=True)
class Attempts:
    """The attempts `<base>`, `<base>-r1`, ... of one job, in a cluster and in its outcome record.

    Attributes:
        manifest: In the version that the cluster serves.
        spec_hash: Of what was given: the same on a cluster that serves another version.
    """

    api: Api
    context: Context
    kind: Kind
    manifest: Manifest
    backoff_limit: int
    spec_hash: str

    @property
    def base(self) -> str:
        return identity.base_name(self.manifest)

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"].get("namespace") or self.context.namespace)

    def ensure(self) -> Handle:
        """The attempt that is adopted, given back, or created; see `Executor.ensure`."""
        present = self.latest()
        record = read_outcome(self.context.store_uri, self.base)
        if present is not None and (record is None or _attempt(present) >= record.attempt):
            return self._from_object(present, record)
        if record is not None:
            return self._from_record(record)
        return self._create(0)

    def latest(self) -> dict[str, Any] | None:
        """The newest attempt in the cluster, once what is being deleted is gone."""
        until = time.monotonic() + GONE_S
        while True:
            try:
                items = self.api.get(self.kind.path(self.namespace), labelSelector=f"{BASE}={self.base}")["items"]
            except ApiError as error:
                raise explain(error, f"{self.kind.name} {self.base}", self.namespace) from error
            leaving = [item for item in items if "deletionTimestamp" in item["metadata"]]
            if not leaving or time.monotonic() > until:
                return max((item for item in items if item not in leaving), key=_attempt, default=None)
            time.sleep(POLL_S)

    # -- private ---------------------------------------------------------------------------------------------------

    def _from_object(self, job: dict[str, Any], record: OutcomeRecord | None) -> Handle:
        their_hash = (job["metadata"].get("annotations") or {}).get(labels.SPEC_HASH, "")
        if their_hash != self.spec_hash:
            where = (
                f"in namespace {self.namespace}" if their_hash else f"in namespace {self.namespace}, made by others,"
            )
            raise other_spec(self.base, self.spec_hash, their_hash, where)
        attempt, name = _attempt(job), job["metadata"]["name"]
        state, message = job_state(job)
        if state != "Failed":
            if state != "Succeeded":  # a step that was killed may have left it without
                let_peers_speak(self.api, self.kind, job)
            return self._handle(name, adopted=True)
        if record is None or record.attempt < attempt:  # the step that followed it died before it could write
            record = self._record_failure(job, record, message)
        if self._failures(record) > self.backoff_limit:
            return self._handle(name, adopted=True)
        return self._create(attempt + 1)

    def _from_record(self, record: OutcomeRecord) -> Handle:
        if record.spec_hash != self.spec_hash:
            raise other_spec(self.base, self.spec_hash, record.spec_hash, "in object storage")
        is_spent = record.outcome.state == "Failed" and self._failures(record) > self.backoff_limit
        if record.outcome.state == "Succeeded" or is_spent:
            return self._handle(record.name, adopted=True)
        return self._create(record.attempt + 1)

    def _failures(self, record: OutcomeRecord) -> int:
        return record.failures if record.invocation == invocation() else 0

    def _record_failure(self, job: dict[str, Any], before: OutcomeRecord | None, message: str) -> OutcomeRecord:
        asked_by = (job["metadata"].get("annotations") or {}).get(INVOCATION, "")
        failures = before.failures if before and before.invocation == asked_by else 0
        outcome = Outcome("Failed", message=message)
        if self._has_lapsed(job):
            outcome = Outcome("Cancelled", message="its step was gone, and its lease lapsed")
        else:
            failures += 1
        record = OutcomeRecord(
            job["metadata"]["name"], _attempt(job), self.spec_hash, failures, outcome, invocation=asked_by
        )
        write_outcome(self.context.store_uri, self.base, record)
        return record

    def _has_lapsed(self, job: dict[str, Any]) -> bool:
        """Whether it ended by itself because nobody waited for it."""
        query = {"labelSelector": f"{JOB}={job['metadata']['name']}"}
        pods = self.api.get(PODS.path(self.namespace), **query)["items"]
        return any(pod_state(pod).exit_code == LeaseLapsed.exit_code for pod in pods)

    def _create(self, attempt: int) -> Handle:
        pod = own_pod()
        owner = pod.owner if pod is not None and pod.namespace == self.namespace else None
        made = rendered(self.manifest, self.kind, self.context, attempt, owner, invocation(), self.spec_hash)
        name = made["metadata"]["name"]
        try:
            created = self.api.post(self.kind.path(self.namespace), made)
        except ApiError as error:
            if error.status != 409 or error.reason != "AlreadyExists":
                raise explain(error, f"{self.kind.name} {name}", self.namespace) from error
            return self._somebody_was_first(name)
        let_peers_speak(self.api, self.kind, created)
        return self._handle(name)

    def _somebody_was_first(self, name: str) -> Handle:
        """Another process, or this one before an answer was lost: one name is one job."""
        try:
            present = self.api.find(self.kind.path(self.namespace, name))
        except ApiError as error:
            raise explain(error, f"{self.kind.name} {name}", self.namespace) from error
        if present is None or "deletionTimestamp" in present["metadata"]:
            return self.ensure()
        their_hash = (present["metadata"].get("annotations") or {}).get(labels.SPEC_HASH, "")
        if their_hash != self.spec_hash:
            raise other_spec(self.base, self.spec_hash, their_hash or "none", f"in namespace {self.namespace}")
        let_peers_speak(self.api, self.kind, present)
        return self._handle(name, adopted=True)

    def _handle(self, name: str, *, adopted: bool = False) -> Handle:
        return Handle(self.kind.name, name, self.namespace, self.spec_hash, adopted, self.base)


def check(api: Api, context: Context, kind: Kind, manifest: Manifest) -> None:
    """Has the API server and its webhooks judge the manifest, creating nothing.

    Raises:
        UserError: what they refuse, and what to do.
    """
    made = rendered(manifest, kind, context, 0, None, "")
    namespace = made["metadata"]["namespace"]
    try:
        api.post(kind.path(namespace), made, dryRun="All")
    except ApiError as error:
        if error.reason == "AlreadyExists":
            return
        raise explain(error, f"{kind.name} {made['metadata']['name']}", namespace) from error


def _attempt(job: dict[str, Any]) -> int:
    text = (job["metadata"].get("labels") or {}).get(labels.ATTEMPT, "0")
    if not text.isdigit():
        raise InvalidSpec(
            f"label {labels.ATTEMPT} {text!r} is not a number",
            field=job["metadata"]["name"],
            given=text,
            fix="delete the job",
        )
    return int(text)
