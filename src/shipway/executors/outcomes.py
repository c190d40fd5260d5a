"""How jobs ended: as records in object storage, and as errors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from shipway.deaths import last_words
from shipway.errors import Cancelled, Conflict, CorruptArtifact, JobFailed, NotFound, StorageError, UserError
from shipway.executors.base import Handle, Outcome, ReplicaFailure

DONE = ("Succeeded", "Ready")
ERROR = "error: "  # begins the line that every process of ours ends with


@dataclass(frozen=True)
class OutcomeRecord:
    """`jobs/<base name>/outcome.json`: outlives the machine, pod or cluster that the job ran on.

    Attributes:
        name: Of the attempt that ended so.
        failures: Attempts that failed so far, this one included.
    """

    name: str
    attempt: int
    spec_hash: str
    failures: int
    outcome: Outcome
    invocation: str = ""


def outcome_from(document: dict[str, Any]) -> Outcome:
    """An outcome from its JSON form; unknown fields are dropped."""
    failure = document.get("first_failure")
    known = {key: document[key] for key in ("state", "seconds", "restarts", "message", "url") if key in document}
    return Outcome(**known, first_failure=ReplicaFailure(**failure) if failure else None)


def read_outcome(store_uri: str, base: str) -> OutcomeRecord | None:
    """The record of a job; None where it has not ended, or nobody answers: then only this machine knows.

    Raises:
        CorruptArtifact: not a record.
    """
    from shipway.storage import Store

    key = f"jobs/{base}/outcome.json"
    try:
        document = json.loads(Store.open(store_uri).get(key))
        known = {name: document[name] for name in ("name", "attempt", "spec_hash", "failures", "invocation")}
        return OutcomeRecord(**known, outcome=outcome_from(document["outcome"]))
    except (NotFound, StorageError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{store_uri}/{key}: not an outcome record ({error}); delete it to run again") from error


def write_outcome(store_uri: str, base: str, record: OutcomeRecord) -> str:
    """Writes the record; what kept it from being written, or an empty string."""
    from shipway.storage import Store

    try:
        Store.open(store_uri).put(f"jobs/{base}/outcome.json", json.dumps(asdict(record), indent=1).encode())
    except StorageError as error:
        return str(error)
    return ""


def mistake_of(outcome: Outcome) -> str:
    """The one line of a replica that ended with a user's mistake: exit code 2 and our `error: ...`; else empty."""
    failure = outcome.first_failure
    if outcome.state != "Failed" or failure is None or failure.exit_code != UserError.exit_code:
        return ""
    return next((line[len(ERROR) :] for line in reversed(failure.last_lines) if line.startswith(ERROR)), "")


def raise_for(outcome: Outcome, handle: Handle) -> None:
    """Nothing for a job that succeeded; the error for one that did not.

    Raises:
        JobFailed: which replica failed first, how, and the line that says why; the lines around it are an attribute.
        UserError: a replica told a user's mistake.
        Cancelled: it was stopped.
    """
    if outcome.state in DONE:
        return
    if outcome.state == "Cancelled":
        raise Cancelled(f"{handle.kind} {handle.name} was stopped: {outcome.message}")
    failure = outcome.first_failure
    if mistake := mistake_of(outcome):
        raise UserError(mistake)
    message = f"{handle.kind} {handle.name} failed: {outcome.message}"
    if failure is not None and failure.replica:
        code = "" if failure.exit_code is None else f", exit code {failure.exit_code}"
        message += f"; {failure.replica} failed first ({failure.reason}{code})"
    if failure is not None and (words := last_words(failure.last_lines)):
        message += f": {words}"
    error = JobFailed(message)
    if failure is not None:
        error.replica, error.replica_exit_code = failure.replica or None, failure.exit_code
        error.last_lines = tuple(failure.last_lines)
    raise error


def other_spec(base: str, given: str, present: str, where: str) -> Conflict:
    """The error of a name that is taken by a job with another spec."""
    return Conflict(
        f"job {base!r} exists {where} with another spec (sha256 {present[:12]}, given {given[:12]})",
        field="metadata.name",
        given=base,
        fix="choose another name, or start a fresh run",
    )
