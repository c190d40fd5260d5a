"""What the sweep's task does: check, search, write down what was found."""

from __future__ import annotations

import importlib
import json
import math
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.artifacts import DatasetManifest, SweepRecord, TrialRecord
from shipway.code import use
from shipway.components.sweep import core
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.summary import describe_trial, make_record
from shipway.context import Context
from shipway.errors import InvalidSpec
from shipway.specs import parse
from shipway.steps import Step, step

if TYPE_CHECKING:
    from shipway.components.sweep.ledger import Ledger
    from shipway.components.sweep.search import Search
    from shipway.executors import Handle, Manifest


def search(dataset: Any, spec: str, sweep: Any, report: Any, task_config: Any = None) -> str:
    """Searches, and writes the `SweepRecord` and its report.

    Args:
        dataset: `Input[Dataset]`.
        spec: A SweepSpec as JSON or YAML.
        sweep: `Output[Artifact]`.
        report: `Output[HTML]`.
        task_config: `dsl.TaskConfig`, for the trials' replicas.

    Returns:
        The best parameters as JSON.
    """
    with step("sweep") as current:
        document = parse(SweepSpec, spec, "sweep")
        use(document.training.code if document.training else "", "sweep.training.code")
        manifest = DatasetManifest.read(dataset.path)
        record, uri = play(document, manifest.uri, manifest.fingerprint, current, task_config)
        return _hand_on(record, uri, sweep, report, current)
    raise AssertionError("unreachable")


def function(spec: str, sweep: Any, report: Any, task_config: Any = None) -> str:
    """`search` over a function of a person's own, which needs no dataset."""
    with step("sweep") as current:
        document = parse(SweepSpec, spec, "sweep")
        if not document.function:
            raise InvalidSpec("missing", field="sweep.function", allowed="`module:name` of a function in training.code")
        record, uri = play(document, "", "", current, task_config)
        return _hand_on(record, uri, sweep, report, current)
    raise AssertionError("unreachable")


def _hand_on(record: SweepRecord, uri: str, sweep: Any, report: Any, current: Step) -> str:
    """Writes what was found for whoever reads it; the best parameters as JSON."""
    from shipway.components.sweep.page import sweep_report

    record.write(sweep.path)
    sweep_report(record).write(report.path)
    publish(record, Path(report.path), uri)
    current.report("Sweep", f"{uri}/report.html")
    current.output(
        uri=uri, best=record.best_params, best_value=record.best_value, trials=len(record.trials),
        objective=record.objective,
    )  # fmt: skip
    return json.dumps(record.best_params, sort_keys=True)


def play(
    spec: SweepSpec,
    dataset_uri: str,
    dataset_fingerprint: str,
    current: Step | None = None,
    task_config: Any = None,
) -> tuple[SweepRecord, str]:
    """Plays the sweep here, whichever executor runs its trials.

    Args:
        spec: The sweep.
        dataset_uri: Folder of the dataset; empty for a function that needs none.
        dataset_fingerprint: Of its content.
        current: The step, told which jobs to end with it.
        task_config: What was set on the KFP task, for the trials' replicas.

    Returns:
        The record, and the URI of the sweep's folder.

    Raises:
        InvalidSpec: a parameter or value that the recipe refuses, or an objective that no training reports.
        JobFailed: more trials failed than allowed, or none ended with a value of the objective.
    """
    from shipway.recipes import load_recipe
    from shipway.training.spec import check_training

    core.check_objective(spec)
    spec = core.with_objective(spec)
    training = spec.training
    params_model = None
    if training is not None and not spec.function:
        params_model = load_recipe(training.recipe).Params
        check_training(training)
        core.check_parameters(spec, params_model, training.recipe)
    name, uri, document = identify(spec, dataset_fingerprint)
    first = core.defaults(spec, params_model)
    if spec.maxTrialCount <= 1 or not spec.parameters:  # nothing to choose from: no trial is worth its time
        return make_record(spec, [], dataset_fingerprint, first), uri
    if spec.engine == "katib":
        trials = _by_katib(spec, name, dataset_uri, current, task_config)
        return make_record(spec, trials, dataset_fingerprint, first), uri
    trials, importance = _by_optuna(spec, name, uri, dataset_uri, document, first, current, task_config)
    return make_record(spec, trials, dataset_fingerprint, first, importance), uri


def identify(spec: SweepSpec, dataset_fingerprint: str) -> tuple[str, str, dict[str, Any]]:
    """Name and folder of the sweep in this run, and what they stem from: the same command finds the same folder."""
    from shipway.canonical import canonical_json, fingerprint
    from shipway.executors import identity

    document = {"spec": json.loads(canonical_json(spec)), "dataset": dataset_fingerprint}
    context = Context.current()
    name = identity.job_name(
        spec.training.name if spec.training else "",
        context.run,
        "sweep",
        iteration=" ".join(filter(None, (fingerprint(document), context.step))),
    )
    return name, context.uri("sweeps", name), document


def _by_optuna(
    spec: SweepSpec,
    name: str,
    uri: str,
    dataset_uri: str,
    document: dict[str, Any],
    first: dict[str, Any],
    current: Step | None,
    task_config: Any,
) -> tuple[list[TrialRecord], dict[str, float]]:
    from shipway import executors
    from shipway.components.sweep import experiment
    from shipway.components.sweep.engine import Engine
    from shipway.components.sweep.ledger import Ledger
    from shipway.components.sweep.packed import PackedTrials
    from shipway.components.sweep.runners import Jobs
    from shipway.components.sweep.search import Search
    from shipway.executors.passthrough import with_task_config
    from shipway.storage import open_folder

    context = Context.current()
    executor = executors.current()
    ledger = Ledger(open_folder(uri))
    ledger.claim(document)
    slots, threads = capacity(spec)
    training = spec.training
    finder = Search(spec, first, reports=math.ceil(training.epochs) if training else 0)

    def started(handle: Handle) -> None:
        if current is not None:
            current.job(handle.name, on_cancel=lambda: executor.cancel(handle))

    trials = PackedTrials(
        sweep=name,
        ledger=ledger,
        jobs=Jobs(executor, on_start=started),
        manifest=lambda runner: with_task_config(
            experiment.runner_manifest(spec, runner, uri, dataset_uri, context.store_uri, threads), task_config
        ),
        slots=slots,
        deadline_s=spec.trial_deadline_s or (training.deadline_s if training else None),
        engine=f"{os.uname().nodename}-{os.getpid()}",
    )
    is_judged = spec.earlyStopping is not None or spec.algorithm.algorithmName == "hyperband"
    engine = Engine(
        spec=spec,
        search=finder,
        ledger=ledger,
        trials=trials,
        make_request=lambda number, values: experiment.make_request(
            spec, dataset_uri, number, values, is_judged=is_judged and number > 0
        ),
        on_trial=lambda record: print(describe_trial(record, spec), flush=True),
    )
    threading.Thread(target=_warm_up, daemon=True).start()
    found = engine.run()
    _keep(ledger, spec, name, dataset_uri, finder, task_config)
    return found, finder.importance()


def _by_katib(
    spec: SweepSpec, name: str, dataset_uri: str, current: Step | None, task_config: Any
) -> list[TrialRecord]:
    from shipway import executors
    from shipway.components.sweep import katib as engine
    from shipway.executors import identity

    context = Context.current()
    executor = executors.current()
    manifest = _experiment(spec, name, dataset_uri, task_config)
    manifest = identity.stamp(
        manifest, name=spec.training.name if spec.training else "", run=context.run,
        task=current.name if current else "sweep", namespace=context.namespace,
    )  # fmt: skip

    def started(handle: Handle) -> None:
        if current is not None:
            current.job(handle.name, on_cancel=lambda: executor.cancel(handle))

    return engine.play(spec, manifest, executor, started)


def _experiment(spec: SweepSpec, name: str, dataset_uri: str, task_config: Any) -> Manifest:
    from shipway.components.sweep import experiment
    from shipway.executors.passthrough import with_task_config

    template = experiment.trial_template(spec, dataset_uri, Context.current().store_uri)
    return experiment.render(spec, name, with_task_config(template, task_config))


def _warm_up() -> None:
    """Imports what the sweep's end needs while its trials run: seconds that nobody waits for."""
    for module in ("optuna.importance", "sklearn.ensemble", "sqlalchemy", "alembic", "jinja2"):
        importlib.import_module(module)


def capacity(spec: SweepSpec) -> tuple[int, int]:
    """How many trials run at once, and the threads of each: as many as their CPU requests leave room for here; a
    cluster's scheduler decides by itself."""
    wanted = max(1, min(spec.parallelTrialCount, spec.maxTrialCount))
    if Context.current().executor != "process":
        return wanted, 0
    cores = len(os.sched_getaffinity(0))
    text = spec.training.resources.cpu if spec.training else "1"
    asked = float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    slots = max(1, min(wanted, int(cores / max(asked, 0.001))))
    return slots, max(1, cores // slots)


def _keep(
    ledger: Ledger, spec: SweepSpec, name: str, dataset_uri: str, finder: Search, task_config: Any = None
) -> None:
    """Leaves the Experiment for Katib and the study for Optuna's own tools beside the trials."""
    import yaml

    text = yaml.safe_dump(_experiment(spec, name, dataset_uri, task_config), sort_keys=False)
    ledger.store.put("experiment.yaml", text.encode())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        finder.export(path)
        ledger.store.upload(path, "study.db")


def publish(record: SweepRecord, report: Path, uri: str) -> None:
    """Puts the record and its report into the sweep's folder."""
    from shipway.storage import open_folder

    store = open_folder(uri)
    store.put("report.html", report.read_bytes())
    store.put("record.json", record.to_json().encode())
