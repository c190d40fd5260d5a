"""A sweep from its first trial to its record."""

from __future__ import annotations

import importlib
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from shipway import executors
from shipway.artifacts import SweepRecord, TrialRecord
from shipway.components.sweep import algorithms, core
from shipway.components.sweep.budget import account_of
from shipway.components.sweep.engine import Engine
from shipway.components.sweep.ledger import Ledger
from shipway.components.sweep.packed import PackedTrials
from shipway.components.sweep.rungs import reports_of, rungs_of
from shipway.components.sweep.runners import Jobs
from shipway.components.sweep.search import Search
from shipway.components.sweep.space import Values
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.spending import Spending
from shipway.components.sweep.summary import describe_trial, make_record
from shipway.errors import ShipwayError, Superseded, one_line
from shipway.executors import Handle, Manifest
from shipway.storage import open_folder


def play(
    spec: SweepSpec,
    name: str,
    uri: str,
    origin: Mapping[str, object],
    runner: Callable[[str], Manifest],
    *,
    first: Values | None,
    slots: int,
    dataset_fingerprint: str = "",
    on_start: Callable[[Handle], None] = lambda handle: None,
) -> SweepRecord:
    """Plays a sweep through the executor in force; one that was killed goes on where it was.

    Args:
        spec: The sweep.
        name: Its runners are named after it.
        uri: Its folder.
        origin: All that it stems from: another origin is refused in this folder.
        runner: Gives the manifest of a runner of a given name.
        first: Parameters of the first trial, the defaults; None: the search chooses that one too.
        slots: How many trials run at once.
        dataset_fingerprint: What is trained on.
        on_start: Told each runner's handle, so that whoever owns the step can cancel it.

    Raises:
        InvalidSpec: another sweep lies in the folder, or the defaults failed by the user's own mistake.
        JobFailed: more trials failed than allowed, or none ended with a value of the objective.
    """
    unused = [each.name for each in spec.algorithm.algorithmSettings if each.name in algorithms.NOT_APPLIED]
    if spec.earlyStopping is not None and spec.algorithm.algorithmName in algorithms.RUNGS:
        unused.append("earlyStopping")  # the rungs decide what is worth going on with
    if unused:
        print(f"not applied here: {', '.join(unused)} of {spec.algorithm.algorithmName}", flush=True)
    ledger = Ledger(open_folder(uri))
    ledger.claim(dict(origin))
    ledger.forget_stop()
    rungs = rungs_of(spec, has_defaults=first is not None)
    reports = (reports_of(spec.training) or 0) if spec.training else 0
    search = Search(spec, first, reports, pauses=rungs is not None)
    who = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(3)}"
    trials = PackedTrials(
        sweep=name,
        ledger=ledger,
        jobs=Jobs(executors.current(), on_start),
        manifest=runner,
        slots=slots,
        deadline_s=core.trial_limit_s(spec),
        engine=who,
    )
    threading.Thread(target=_warm_up, daemon=True).start()

    def tell(record: TrialRecord) -> None:
        print(describe_trial(record, spec), flush=True)

    spending = Spending(account_of(spec), core.trial_limit_s(spec), spec.trial_deadline_s or 0.0)
    engine = Engine(spec, search, ledger, trials, tell, rungs, spending)
    try:
        records = engine.run()
    except Superseded:
        raise
    except BaseException as error:
        ended = "Failed" if isinstance(error, ShipwayError) else "Interrupted"
        ledger.close_lease(who, "Stopped" if trials.stop_by else ended, one_line(error))
        raise
    ledger.close_lease(who, "Stopped" if trials.stop_by else "Ended", engine.ended_by)
    if engine.ended_by:
        print(f"ended early: {engine.ended_by}", flush=True)
    with tempfile.TemporaryDirectory() as folder:  # for Optuna's own tools
        path = Path(folder) / "study.db"
        search.export(path)
        ledger.store.upload(path, "study.db")
    record = make_record(
        spec, records, dataset_fingerprint, first or {}, search.importance(), engine.ended_by, engine.spending.spent_s
    )
    record.avoided = trials.nodes.avoided
    return record


def _warm_up() -> None:
    """Imports what the sweep's end needs while its trials run: seconds that nobody waits for."""
    for module in ("optuna.importance", "sklearn.ensemble", "sqlalchemy", "alembic", "jinja2"):
        importlib.import_module(module)
