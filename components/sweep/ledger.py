"""What a sweep keeps in object storage, below `sweeps/<job>/`: enough to go on from after a crash at any point.

    sweep.json                        the spec and what it is searched on; another spec under this name is refused
    lease.json                        rewritten by the engine while it lives, and with how it ended at its end; a
                                      runner that sees no change ends, an engine that sees another's name, too
    stop.json                         somebody wants it to end with what it has; the engine looks
    trials/0003/record.json           a finished trial; never run again unless the whole sweep failed. Or one that
                                      paused at a rung, and may go on as its next attempt
    trials/0003/checkpoints/...       where it goes on from; deleted once it will not
    trials/0003/1/request.json        what attempt 1 is to do; written before any runner hears of it
    trials/0003/1/status.json         how far it is; written by its runner alone
    trials/0003/1/verdict.json        whether it goes on behind a step; written by the engine alone
    runners/<runner>/0.json           the runner's work, one object after the other; `{"end": true}` is the last
    record.json study.db report.html  what was found

Every object has one writer, so nothing needs a lock; a runner and its engine never meet but here, which is why it makes
no difference whether they share a machine.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from shipway.artifacts import TrialRecord
from shipway.canonical import canonical_json
from shipway.errors import Conflict, CorruptArtifact, InvalidSpec, NotFound, RetryableError, Superseded
from shipway.storage import Store

_TRIAL_KEY = re.compile(r"trials/(\d+)/(?:(\d+)/)?(\w+)\.json")
_RUNNER_KEY = re.compile(r"runners/([^/]+)/(\d+)\.json")
Metrics = dict[str, float | None]  # None: it was not finite
FINAL = ("Succeeded", "Failed", "EarlyStopped", "Killed", "Paused")  # of an attempt


@dataclass(frozen=True)
class Request:
    """One attempt at a trial. What it calls is not in here: a runner knows that from its manifest.

    Attributes:
        number: The trial's, from 0.
        attempt: From 1; above 1 where the engine died during an earlier one, or the trial goes on from a rung.
        params: Parameter values.
        is_judged: Every report waits for the engine's verdict.
        runner: Who is to run it.
        until: It pauses after so many reports, of all its attempts together, and goes on from its checkpoint; 0: it
            trains to its end, from its checkpoint where there is one. None: it keeps no checkpoint.
        used_s: Seconds that earlier attempts took of the trial's time.
        held_s: Seconds for which runners were held for these; lost attempts are among them.
    """

    number: int
    attempt: int
    params: dict[str, Any]
    is_judged: bool = False
    runner: str = ""
    until: int | None = None
    used_s: float = 0.0
    held_s: float = 0.0


@dataclass(frozen=True)
class Status:
    """How far an attempt is.

    Attributes:
        state: `Running` or one of `FINAL`.
        reports: [step, metrics] of every report so far.
        metrics: What the function returned.
        is_users: The error is one that the user can mend.
        node: Where its runner runs.
        held_s: Seconds since the attempt was handed to its runner; the engine's word, not the runner's.
    """

    state: str
    reports: list[tuple[int, Metrics]] = field(default_factory=list)
    metrics: Metrics = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    is_users: bool = False
    node: str = ""
    held_s: float = 0.0


@dataclass
class Known:
    """A trial as an earlier engine left it."""

    record: TrialRecord | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    request: Request | None = None  # of the last attempt, where it may have to run again


class Ledger:
    """Reads and writes a sweep's folder.

    Args:
        store: Rooted at the sweep's folder.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def claim(self, document: dict[str, Any]) -> None:
        """Makes the folder this sweep's.

        Raises:
            InvalidSpec: another sweep lies there.
        """
        text = canonical_json(document).encode()
        try:
            self.store.put("sweep.json", text, create=True)
        except Conflict:
            if self.store.get("sweep.json") != text:
                where, fix = f"{self.store.uri} holds trials", "run again with --fresh, or under another name"
                raise InvalidSpec(f"{where} of another spec or dataset", field="sweep", fix=fix) from None

    def trials(self) -> dict[int, Known]:
        """Every trial that any engine began, in order of numbers."""
        by_number: dict[int, Known] = {}
        attempts: dict[int, int] = {}
        records = set()
        for info in self.store.list("trials/"):
            match = _TRIAL_KEY.fullmatch(info.key)
            if not match:
                continue
            number, attempt, kind = int(match[1]), int(match[2] or 0), match[3]
            by_number.setdefault(number, Known())
            if kind == "record":
                records.add(number)
            elif kind == "request":
                attempts[number] = max(attempt, attempts.get(number, 0))
        for number, known in by_number.items():
            if number in records:
                raw = self._read(f"trials/{number:04}/record.json") or {}
                known.memory = raw.pop("memory", {})
                known.record = TrialRecord.model_validate(raw)
            record, attempt = known.record, attempts.get(number, 0)
            if attempt and (record is None or record.state == "Failed" or record.attempts < attempt):
                known.request = self.read_request(number, attempt)
        return dict(sorted((n, k) for n, k in by_number.items() if k.record or k.request))

    def finish(self, record: TrialRecord, memory: dict[str, Any]) -> None:
        """Writes a finished trial down; from here on a restarted sweep does not run it again."""
        self._write(f"trials/{record.number:04}/record.json", {**record.model_dump(mode="json"), "memory": memory})

    def checkpoints(self, number: int) -> str:
        """The folder in which a trial's training keeps its checkpoints, as any job's does."""
        return f"{self.store.uri}/trials/{number:04}"

    def forget_checkpoints(self, number: int) -> None:
        """Deletes what a trial would have gone on from."""
        keys = [info.key for info in self.store.list(f"trials/{number:04}/checkpoints/")]
        if keys:
            self.store.delete(*sorted(keys, reverse=True))  # the pointer, `current`, before what it points to

    def earlier_reports(self, request: Request) -> list[tuple[int, Metrics]]:
        """What the attempts before this one reported."""
        for attempt in range(request.attempt - 1, 0, -1):
            status = self.status(request.number, attempt)
            if status is not None:
                return status.reports
        return []

    def request(self, request: Request) -> None:
        """Writes down what an attempt is to do, once: no two engines begin it.

        Raises:
            RetryableError: another engine began it at the same moment.
        """
        key = _key(request.number, request.attempt, "request")
        try:
            self.store.put(key, json.dumps(asdict(request), ensure_ascii=False).encode(), create=True)
        except Conflict:
            known = self.read_request(request.number, request.attempt)
            if known.runner != request.runner or known.params != request.params:
                raise RetryableError(
                    f"{self.store.uri}: another driver began trial {request.number} at the same moment; run again"
                ) from None

    def read_request(self, number: int, attempt: int) -> Request:
        """The request of an attempt.

        Raises:
            CorruptArtifact: it is missing, or was edited into something else.
        """
        key = _key(number, attempt, "request")
        try:
            return Request(**(self._read(key) or {}))
        except TypeError as error:
            raise CorruptArtifact(
                f"{self.store.uri}/{key}: no request of a trial: it was edited; run again with --fresh"
            ) from error

    def status(self, number: int, attempt: int) -> Status | None:
        """How far an attempt is; None before its runner began."""
        raw = self._read(_key(number, attempt, "status"))
        if raw is None:
            return None
        return Status(**{**raw, "reports": [(int(step), metrics) for step, metrics in raw["reports"]]})

    def set_status(self, number: int, attempt: int, status: Status) -> None:
        """Called by the runner."""
        self._write(_key(number, attempt, "status"), asdict(status))

    def verdict(self, number: int, attempt: int) -> tuple[int, bool]:
        """The last step that was judged (0: none), and whether to stop there."""
        raw = self._read(_key(number, attempt, "verdict")) or {}
        return int(raw.get("step", 0)), bool(raw.get("stop", False))

    def set_verdict(self, number: int, attempt: int, step: int, stop: bool) -> None:
        """Called by the engine."""
        self._write(_key(number, attempt, "verdict"), {"step": step, "stop": stop})

    def assign(self, runner: str, position: int, work: dict[str, Any]) -> None:
        """Puts work behind what a runner has."""
        self._write(f"runners/{runner}/{position}.json", work)

    def work(self, runner: str, position: int) -> dict[str, Any] | None:
        """A runner's work at a position, None where there is none yet."""
        return self._read(f"runners/{runner}/{position}.json")

    def runners(self) -> dict[str, int]:
        """Runner -> how much work it was given."""
        starts: dict[str, int] = {}
        for info in self.store.list("runners/"):
            match = _RUNNER_KEY.fullmatch(info.key)
            if match:
                starts[match[1]] = max(starts.get(match[1], 0), int(match[2]) + 1)
        return starts

    def take_lease(self, engine: str) -> None:
        """Makes an engine the one that plays: an earlier one that still lives will see that, and end."""
        self._write("lease.json", {"beat": 0, "engine": engine})

    def check_lease(self, engine: str) -> None:
        """Looks whether the engine is still the one that plays.

        Raises:
            Superseded: another has taken over.
        """
        other = (self.lease() or {}).get("engine", engine)
        if other != engine:
            raise Superseded(f"{self.store.uri}: another driver, {other}, has taken this sweep over; this one ends")

    def renew_lease(self, beat: int, engine: str) -> None:
        """Says that the engine lives.

        Raises:
            Superseded: another has taken over.
        """
        self.check_lease(engine)
        self._write("lease.json", {"beat": beat, "engine": engine})

    def close_lease(self, engine: str, ended: str, why: str) -> None:
        """Says how the engine ended, unless another plays by now."""
        if (self.lease() or {}).get("engine", engine) == engine:
            self._write("lease.json", {"engine": engine, "ended": ended, "why": why})

    def ask_to_stop(self, who: str) -> None:
        """Has the engine end with what it has."""
        self._write("stop.json", {"by": who})

    def stop_asked(self) -> str:
        """Who wants it to end; empty: nobody."""
        return str((self._read("stop.json") or {}).get("by", ""))

    def forget_stop(self) -> None:
        """Called before it is played again."""
        self.store.delete("stop.json")

    def origin(self) -> dict[str, Any]:
        """What `claim` was given."""
        return self._read("sweep.json") or {}

    def lease(self) -> dict[str, Any] | None:
        """What `renew_lease` last wrote."""
        return self._read("lease.json")

    def _read(self, key: str) -> dict[str, Any] | None:
        try:
            document = json.loads(self.store.get(key))
        except NotFound:
            return None
        return document if isinstance(document, dict) else None

    def _write(self, key: str, document: dict[str, Any]) -> None:
        self.store.put(key, json.dumps(document, ensure_ascii=False).encode())


def _key(number: int, attempt: int, kind: str) -> str:
    return f"trials/{number:04}/{attempt}/{kind}.json"


def pause_s(idle_s: float) -> float:
    """Seconds until the next look, after nothing has changed for `idle_s`: never more than 5 % late, and quiet."""
    return min(max(idle_s / 20, 0.005), 2.0)
