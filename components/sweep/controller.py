"""Stands in for Katib's controller: plays the Experiment of SHIPWAY_EXPERIMENT, a job for each trial.

python -m shipway.components.sweep.controller
"""

from __future__ import annotations

import json
import os
import sys

from shipway.artifacts import SweepRecord, TrialRecord
from shipway.components.sweep import core, experiment
from shipway.components.sweep.ledger import Ledger, Request
from shipway.components.sweep.space import Values
from shipway.components.sweep.summary import describe_trial, make_record
from shipway.context import Context
from shipway.errors import ShipwayError
from shipway.executors import Manifest
from shipway.storage import open_folder

EXPERIMENT = "SHIPWAY_EXPERIMENT"


def play(manifest: Manifest) -> SweepRecord:
    """Runs an Experiment's trials through the executor in force.

    Raises:
        InvalidSpec: a field that is wrong or cannot be honoured here.
        JobFailed: more trials failed than `maxFailedTrialCount` allows.
    """
    from shipway import executors
    from shipway.components.sweep.engine import Engine
    from shipway.components.sweep.jobtrials import JobTrials
    from shipway.components.sweep.runners import Jobs
    from shipway.components.sweep.search import Search

    found = experiment.read(manifest)
    spec = found.spec
    if found.notes:
        print(f"not applied here: {', '.join(found.notes)}", flush=True)
    ledger = Ledger(open_folder(Context.current().uri("sweeps", found.name)))
    ledger.claim({"experiment": manifest["spec"]})

    def trial_manifest(request: Request) -> Manifest:
        suffix = f"-{request.attempt}" if request.attempt > 1 else ""
        return found.trial(f"{found.name}-{request.number:04}{suffix}", request.params)

    def make_request(number: int, values: Values) -> Request:
        return Request(number, 1, dict(values), seed=0, function="", document={}, is_judged=is_judged)

    def on_trial(record: TrialRecord) -> None:
        print(describe_trial(record, spec), flush=True)

    is_judged = spec.earlyStopping is not None or spec.algorithm.algorithmName == "hyperband"
    trials = JobTrials(
        ledger=ledger,
        jobs=Jobs(executors.current()),
        manifest=trial_manifest,
        formats=found.formats,
        objective=spec.objective.objectiveMetricName,
        slots=min(spec.parallelTrialCount, spec.maxTrialCount),
        deadline_s=spec.trial_deadline_s,
    )
    search = Search(spec, None)
    records = Engine(spec, search, ledger, trials, make_request, on_trial).run()
    record = make_record(spec, records, "", {}, search.importance())
    ledger.store.put("record.json", record.to_json().encode())
    best = core.best_trial(spec.objective, records)
    if best is not None:
        print(f"best: {describe_trial(best, spec)}", flush=True)
    return record


def main() -> int:
    """Exit code of a run."""
    try:
        play(json.loads(os.environ[EXPERIMENT]))
    except ShipwayError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
