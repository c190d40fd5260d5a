"""Runs trials: one after another for an engine that asks through object storage, or a single one for Katib.

    python -m shipway.components.sweep.worker packed <sweep URI> <runner>
    python -m shipway.components.sweep.worker trial

SHIPWAY_TRIAL holds the `Call`: what a trial calls is said by whoever started this process, never by what lies in the
store.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from shipway.termination import heed_sigterm

heed_sigterm(within_s=1.0)

from shipway.code.given import use_given
from shipway.components.sweep.calls import CALL, FOLDER, TRIAL, Call, read_values
from shipway.components.sweep.ledger import Ledger, Request, Status, pause_s
from shipway.components.sweep.nodes import NODE
from shipway.errors import CorruptArtifact, RetryableError, ShipwayError, UserError, one_line
from shipway.functions.calling import load
from shipway.functions.reporting import Stopped
from shipway.objects import raised_at
from shipway.storage import open_folder
from shipway.training.progress import LAPSED, LOOKS, Pause, print_metrics

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
        lease = self.ledger.lease()
        if lease != self._seen:
            self._seen, self._changed = lease, now
        elif now - self._changed > LAPSED * self.seconds:
            raise EngineGone(f"the sweep's engine showed no sign of life for {now - self._changed:.0f} s")


def run_packed(uri: str, runner: str, call: Call) -> int:
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
        request = ledger.read_request(int(work["number"]), int(work["attempt"]))
        document = fill(call, request, uri)
        known = ledger.status(request.number, request.attempt)
        if known is None or known.state == "Running":  # finished: this runner was restarted behind it
            _run(ledger, lease, request, call.function, document)
            done += 1
        position += 1
        since = time.monotonic()


def fill(call: Call, request: Request, uri: str) -> dict[str, Any]:
    """The call's document with a stored request's parameters.

    Raises:
        CorruptArtifact: the stored parameters are not the call's, or hold more than plain values.
    """
    params = request.params
    is_plain = all(value is None or isinstance(value, str | int | float) for value in params.values())
    if params.keys() != call.params.keys() or not is_plain:
        raise CorruptArtifact(
            f"{uri}: the request of trial {request.number} sets {', '.join(sorted(params)) or 'nothing'}, the sweep "
            f"searches {', '.join(sorted(call.params))}: it was edited; run again with --fresh"
        )
    again = f"-{request.attempt}" if request.attempt > 1 else ""
    folder = Ledger(open_folder(uri)).checkpoints(request.number)
    return call.filled({**params, TRIAL: f"{request.number:04}{again}", FOLDER: folder})


def _run(ledger: Ledger, lease: Lease, request: Request, function: str, document: dict[str, Any]) -> None:
    """One trial; whatever its function raises is the trial's failure, and the next one runs all the same."""
    goes_on = request.until is not None
    reports = ledger.earlier_reports(request) if goes_on else []
    stopped = False
    told = -math.inf

    def tell(state: str, metrics: Mapping[str, float | None] | None = None, error: BaseException | None = None) -> None:
        nonlocal told
        told = time.monotonic()
        status = Status(
            state=state,
            reports=reports,
            metrics=dict(metrics or {}),
            seconds=round(time.monotonic() - began, 4),
            error=_one_line(error) if error else "",
            is_users=isinstance(error, UserError),
            node=os.environ.get(NODE, ""),
        )
        ledger.set_status(request.number, request.attempt, status)

    def report(step: int, metrics: dict[str, float]) -> bool:
        nonlocal stopped, told
        if stopped:
            raise Stopped
        while goes_on and reports and reports[-1][0] >= step:
            reports.pop()  # an earlier attempt told more than its checkpoint has
        reports.append((int(step), _plain(metrics)))
        print(f"trial {request.number} step {step} {_text(reports[-1][1])}", flush=True)
        # Before the training saves: what a checkpoint has was told.
        if request.is_judged or goes_on or time.monotonic() - told > TELL_S:
            tell("Running")
        lease.check()
        if request.until and len(reports) >= request.until:
            raise Pause
        stopped = request.is_judged and _wait_for_verdict(ledger, lease, request, int(step))
        return not stopped

    began = time.monotonic()
    tell("Running")
    print(f"trial {request.number} begins {json.dumps(request.params)}", flush=True)
    try:
        called = load(function)
        began = time.monotonic()  # TensorFlow's import is the runner's, not the first trial's
        metrics = _plain(called(document, report))
    except Stopped:
        metrics = {}
    except Pause:
        tell("Paused", reports[-1][1])
        return
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


def run_single(call: Call) -> int:
    """One trial on its own; metrics go to standard output as Katib's StdOut collector reads them."""

    def report(step: int, metrics: dict[str, float]) -> bool:
        print_metrics(step, metrics)
        return True  # Katib ends a trial that falls behind by itself

    print_metrics(None, load(call.function)(call.filled(read_values(call.params)), report))
    return 0


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
        call = Call.from_json(os.environ[CALL])
        if argv[:1] == ["trial"]:
            return run_single(call)
        run_packed(argv[1], argv[2], call)
    except ShipwayError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
