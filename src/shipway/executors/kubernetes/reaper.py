"""Ends jobs whose step is gone and whose own chief did not notice: the CronJob of manifests/ runs this module.

A job's lease is renewed in object storage by the step that waits for it. Ages are measured by the store's clock
alone, so that no two machines' clocks are compared. How long a lease lasts, says the job's label: what lies in storage,
anybody's replica may write. A job without that label is left alone: a person started it.
"""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from typing import Any

from shipway import labels
from shipway.context import Context
from shipway.errors import ShipwayError, UserError
from shipway.executors import identity
from shipway.executors.base import Handle, Outcome
from shipway.executors.kubernetes.api import Api, ApiError, explain
from shipway.executors.kubernetes.kinds import KINDS, SERVICE, Kind
from shipway.executors.kubernetes.rendering import BASE
from shipway.executors.kubernetes.states import job_state
from shipway.executors.kubernetes.watching import SELECTOR
from shipway.executors.outcomes import OutcomeRecord, read_outcome, write_outcome
from shipway.storage import Store

LEASES = 3.0  # lengths of its lease that a job may outlive its step: the chief acts within two
ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Reaped:
    """A job that was ended."""

    handle: Handle
    silent_s: float


def reap(api: Api, context: Context) -> list[Reaped]:
    """Ends what nobody waits for any more, in the context's namespace.

    Raises:
        UserError: names the jobs that could not be ended, once all were tried.
    """
    store = Store.open(context.store_uri)
    now, reaped, refused = _now(store), [], []
    for kind, job in _running(api, context.namespace):
        given = job["metadata"]["labels"]
        base, length_s = given.get(BASE, job["metadata"]["name"]), _length_s(given[labels.LEASE])
        lease = store.head(f"jobs/{base}/lease.json")
        silent_s = now - lease.modified if lease is not None else 0.0
        if silent_s <= LEASES * length_s:
            continue
        try:
            reaped.append(Reaped(_end(api, context, kind, job, base), silent_s))
        except ShipwayError as error:  # it ended meanwhile, or a policy keeps it: the others are not its fault
            refused.append(error)
            continue
        print(f"{kind.name} {reaped[-1].handle.name}: ended, its step has been silent for {silent_s:.0f} s", flush=True)
    if refused:
        raise UserError.all_of(refused)
    return reaped


def main() -> int:
    """Exit code 0 unless a job could not be ended; each line says what was done."""
    try:
        reap(Api(), Context.current())
    except ShipwayError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _running(api: Api, namespace: str) -> list[tuple[Kind, dict[str, Any]]]:
    jobs = []
    for kind in KINDS.values():
        if kind.name in (SERVICE, "Job"):  # no step launches a batch Job
            continue
        try:
            items = api.get(kind.path(namespace), labelSelector=f"{SELECTOR},{labels.LEASE}")["items"]
        except ApiError as error:
            if error.status == 404:  # this cluster does not have the kind
                continue
            raise explain(error, f"{kind.plural} of {kind.api_version}", namespace) from error
        jobs += [(kind, item) for item in items if job_state(item)[0] not in ENDED]
    return jobs


def _end(api: Api, context: Context, kind: Kind, job: dict[str, Any], base: str) -> Handle:
    name = job["metadata"]["name"]
    digest = (job["metadata"].get("annotations") or {}).get(labels.SPEC_HASH, "")
    handle = Handle(kind.name, name, context.namespace, digest, adopted=True, base=base)
    try:
        api.delete(kind.path(context.namespace, name))
    except ApiError as error:
        raise explain(error, f"{kind.name} {name}", context.namespace) from error
    before = read_outcome(context.store_uri, base)
    failures = before.failures if before is not None else 0
    outcome = Outcome("Cancelled", message="its step was gone, and its lease lapsed")
    attempt = identity.attempt_of(handle)[1]
    write_outcome(context.store_uri, base, OutcomeRecord(name, attempt, digest, failures, outcome))
    return handle


def _length_s(label: str) -> float:
    """Of a lease; one that nobody can read lasts as long as a training's does unless its spec says otherwise."""
    try:
        return float(label)
    except ValueError:
        return 120.0


def _now(store: Store) -> float:
    """The store's time, seconds since the epoch: that of an object just written."""
    key = f"jobs/.clock-{uuid.uuid4().hex[:8]}"
    try:
        store.put(key, b"now")
        written = store.head(key)
        return written.modified if written is not None else 0.0  # somebody took it away: nothing is judged
    finally:
        store.delete(key)


if __name__ == "__main__":
    sys.exit(main())
