"""Runs trials: one after another for an engine that asks through object storage, or a single one for Katib.

    python -m shipway.components.sweep.worker packed <sweep URI> <runner>
    python -m shipway.components.sweep.worker trial

SHIPWAY_TRIAL holds the request with `{"$param": name}` in place of values: what a trial calls is said by whoever
started this process, never by what lies in the store.

A trial is a function(document, report) -> metrics; its report(step, metrics) says whether the trial is to go on.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shipway.termination import heed_sigterm

heed_sigterm(within_s=1.0)

from shipway.code.given import use_given
from shipway.components.sweep.ledger import Ledger, Request, Status, pause_s
from shipway.errors import CorruptArtifact, RetryableError, ShipwayError, UserError, one_line
from shipway.functions.calling import load
from shipway.functions.reporting import Stopped
from shipway.objects import raised_at
from shipway.storage import open_folder
from shipway.training.progress import LAPSED, LOOKS

REQUEST = "SHIPWAY_TRIAL"
LEASE_S = "SHIPWAY_SWEEP_LEASE_S"  # an engine that shows no sign of life for so long is gone
TELL_S = 1.0  # a status holds every report before it: written at each, thousands of reports would take hours

Report = Callable[[int, dict[str, float]], bool]


class EngineGone(RetryableError):
    """Nobody is left to report to."""


class Lease:
    """Whether the engine lives, judged by this machine's clock alone: clocks of two machines differ."""

    def __init__(self, ledger: Ledger, seconds: float) -> None:
        self.ledger, self.seconds = ledger, seconds
        self._seen: object = None
        self._changed = self._looked = time.monotonic()

    def check(self) -> None:
        """Looks at most so often as a training at its own.

        Raises:
            EngineGone: it showed no sign of life for nearly the whole lease, the rest of which is for ending.
        """
        now = time.monotonic()
        if now - self._looked < self.seconds / LOOKS:
            return
        self._looked = now
        found = self.ledger.lease()
        if found != self._seen:
            self._seen, self._changed = found, now
        elif now - self._changed > LAPSED * self.seconds:
            raise EngineGone(f"the sweep's engine showed no sign of life for {now - self._changed:.0f} s")


def run_packed(uri: str, runner: str, template: Request) -> int:
    """Runs a runner's work until it is told that there is no more; returns how many trials ran."""
    ledger = Ledger(open_folder(uri))
    lease = Lease(ledger, float(os.environ.get(LEASE_S, "120")))
    position = done = 0
    since = time.monotonic()
    while True:
        work = ledger.work(runner, position)
        if work is None:
            lease.check()
            time.sleep(pause_s(time.monotonic() - since))
            continue
        if work.get("end"):
            return done
        request = filled(template, ledger.read_request(int(work["number"]), int(work["attempt"])), uri)
        known = ledger.status(request.number, request.attempt)
        if known is None or known.state == "Running":  # finished: this runner was restarted behind it
            _run(ledger, lease, request)
            done += 1
        position += 1
        since = time.monotonic()


def filled(template: Request, stored: Request, uri: str) -> Request:
    """A stored request's number and parameters in the template's document and function.

    Raises:
        CorruptArtifact: the stored parameters are not the template's, or hold more than plain values.
    """
    params = stored.params
    is_plain = all(value is None or isinstance(value, str | int | float) for value in params.values())
    if params.keys() != template.params.keys() or not is_plain:
        raise CorruptArtifact(
            f"{uri}: the request of trial {stored.number} sets {', '.join(sorted(params)) or 'nothing'}, the sweep "
            f"searches {', '.join(sorted(template.params))}: it was edited; run again with --fresh"
        )
    document = substitute(template.document, params)
    return replace(stored, function=template.function, document=document, seed=template.seed)


def _run(ledger: Ledger, lease: Lease, request: Request) -> None:
    """One trial; whatever its function raises is the trial's failure, and the next one runs all the same."""
    reports: list[tuple[int, dict[str, float | None]]] = []
    stopped = False
    told = -math.inf

    def tell(state: str, metrics: Mapping[str, float | None] | None = None, error: BaseException | None = None) -> None:
        status = Status(
            state=state,
            reports=reports,
            metrics=dict(metrics or {}),
            seconds=round(time.monotonic() - began, 4),
            error=_one_line(error) if error else "",
            is_users=isinstance(error, UserError),
        )
        ledger.set_status(request.number, request.attempt, status)

    def report(step: int, metrics: dict[str, float]) -> bool:
        nonlocal stopped, told
        if stopped:
            raise Stopped
        reports.append((int(step), _plain(metrics)))
        print(f"trial {request.number} step {step} {_text(reports[-1][1])}", flush=True)
        if request.is_judged or time.monotonic() - told > TELL_S:
            tell("Running")
            told = time.monotonic()
        lease.check()
        stopped = request.is_judged and _wait_for_verdict(ledger, lease, request, int(step))
        return not stopped

    began = time.monotonic()
    tell("Running")
    print(f"trial {request.number} begins {json.dumps(request.params)}", flush=True)
    try:
        function = load(request.function)
        began = time.monotonic()  # TensorFlow's import is the runner's, not the first trial's
        metrics = _plain(function(request.document, report))
    except Stopped:
        metrics = {}
    except EngineGone:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a trial may fail in any way without ending the sweep
        traceback.print_exc()
        tell("Failed", error=error)
        return
    if stopped:
        tell("EarlyStopped", metrics)
    else:
        tell("Succeeded", metrics)
        print(f"trial {request.number} ends {_text(metrics)}", flush=True)


def _wait_for_verdict(ledger: Ledger, lease: Lease, request: Request, step: int) -> bool:
    since = time.monotonic()
    while True:
        judged, stop = ledger.verdict(request.number, request.attempt)
        if judged >= step:
            return stop
        lease.check()
        time.sleep(pause_s(time.monotonic() - since))


def run_single(text: str) -> int:
    """One trial on its own; metrics go to standard output as Katib's StdOut collector reads them."""
    raw = json.loads(text)
    request = Request(**{**raw, "document": substitute(raw["document"], read_values(raw["params"]))})

    def report(step: int, metrics: dict[str, float]) -> bool:
        _print_metrics(_plain(metrics))
        return True  # Katib ends a trial that falls behind by itself

    metrics = load(request.function)(request.document, report)
    _print_metrics(_plain(metrics))
    return 0


def substitute(document: Any, params: Mapping[str, Any]) -> Any:
    """Puts parameter values where the document says `{"$param": name}`."""
    if isinstance(document, Mapping):
        if set(document) == {"$param"}:
            return params[document["$param"]]
        return {key: substitute(value, params) for key, value in document.items()}
    return [substitute(value, params) for value in document] if isinstance(document, list) else document


def read_values(params: Mapping[str, Any]) -> dict[str, Any]:
    """Values that Katib passed as text: it replaces text, whatever the parameter's type."""
    return {name: _read_value(value) for name, value in params.items()}


def _read_value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _print_metrics(metrics: Mapping[str, float | None]) -> None:
    """One line a metric with a time stamp: early stopping in Katib needs one. Katib cannot parse `nan`."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for name, value in metrics.items():
        if value is not None:
            print(f"{now} {name}={value:.8f}", flush=True)


def _plain(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """JSON has no NaN: None stands for what is not finite."""
    return {str(k): float(v) if math.isfinite(float(v)) else None for k, v in metrics.items()}


def _text(metrics: Mapping[str, float | None]) -> str:
    return " ".join(f"{name}={value}" if value is None else f"{name}={value:.6g}" for name, value in metrics.items())


def _one_line(error: BaseException) -> str:
    text = one_line(error)[:500]
    if isinstance(error, ShipwayError):
        return text
    return f"{type(error).__name__}{': ' if text else ''}{text}{raised_at(error)}"


def main(argv: list[str]) -> int:
    """Exit code of a run."""
    try:
        use_given()
        if argv[:1] == ["trial"]:
            return run_single(os.environ[REQUEST])
        run_packed(argv[1], argv[2], Request(**json.loads(os.environ[REQUEST])))
    except ShipwayError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
