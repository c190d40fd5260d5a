"""What the sweep's task does: check, search, write down what was found."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from shipway.artifacts import DatasetManifest, SweepRecord, TrialRecord
from shipway.code import use
from shipway.components.sweep import core
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.summary import make_record
from shipway.context import Context
from shipway.errors import InvalidSpec
from shipway.specs import parse
from shipway.steps import Step, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipway.executors import Handle, Manifest


def search(dataset: Any, spec: str, sweep: Any, report: Any, task_config: Any = None) -> str:
    """Searches, and writes the `SweepRecord` and its report.

    Args:
        dataset: `Input[Dataset]`; None for a function that needs none.
        spec: A SweepSpec as JSON or YAML.
        sweep: `Output[Artifact]`.
        report: `Output[HTML]`.
        task_config: `dsl.TaskConfig`, for the trials' replicas.

    Returns:
        The best parameters as JSON.
    """
    from shipway.components.sweep.page import publish

    with step("sweep") as current:
        document, dataset_uri, fingerprint = parse(SweepSpec, spec, "sweep"), "", ""
        if dataset is not None:
            use(document.training.code if document.training else "", "sweep.training.code")
            manifest = DatasetManifest.read(dataset.path)
            dataset_uri, fingerprint = manifest.uri, manifest.fingerprint
        elif not document.function:
            raise InvalidSpec("missing", field="sweep.function", allowed="`module:name` of a function in training.code")
        record, uri = play(document, dataset_uri, fingerprint, current, task_config)
        record.write(sweep.path)
        publish(record, uri).write(report.path)
        current.report("Sweep", f"{uri}/report.html")
        current.output(
            uri=uri, best=record.best_params, best_value=record.best_value, trials=len(record.trials),
            objective=record.objective,
        )  # fmt: skip
        return json.dumps(record.best_params, sort_keys=True)
    raise AssertionError("unreachable")


def function(spec: str, sweep: Any, report: Any, task_config: Any = None) -> str:
    """`search` over a function of a person's own, which needs no dataset."""
    return search(None, spec, sweep, report, task_config)


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
    from shipway.components.sweep.budget import check_budget
    from shipway.components.sweep.rungs import check_rungs
    from shipway.recipes import load_recipe
    from shipway.training.spec import check_training

    core.check_objective(spec)
    check_budget(spec)
    spec = core.with_objective(spec)
    training = spec.training
    params_model = None
    if training is not None and not spec.function:
        params_model = load_recipe(training.recipe).Params
        check_training(training)
        check_rungs(spec)
        core.check_parameters(spec, params_model, training.recipe)
    name, uri, origin = identify(spec, dataset_fingerprint)
    first = core.defaults(spec, params_model)
    if core.most_trials(spec) <= 1 or not spec.parameters:  # nothing to choose from: no trial is worth its time
        return make_record(spec, [], dataset_fingerprint, first), uri
    if spec.engine == "katib":
        trials = _by_katib(spec, name, dataset_uri, current, task_config)
        return make_record(spec, trials, dataset_fingerprint, first), uri
    return _by_optuna(spec, name, uri, dataset_uri, origin, first, current, task_config), uri


def resume(name: str, uri: str, spec: SweepSpec, dataset_fingerprint: str) -> SweepRecord:
    """Plays a sweep of the store on from where it is, in this process; trials run through the executor in force.

    Args:
        name, uri: The sweep's, and its folder.
        spec, dataset_fingerprint: As its records have them.

    Raises:
        NotFound: its dataset is gone.
        JobFailed: as of `play`.
    """
    from shipway.components.sweep.ledger import Ledger
    from shipway.components.sweep.page import publish
    from shipway.storage import open_folder, read_artifact

    use(spec.training.code if spec.training else "", "sweep.training.code")
    origin = Ledger(open_folder(uri)).origin()
    dataset_uri = ""
    if dataset_fingerprint:
        dataset_uri = read_artifact(DatasetManifest, Context.current().uri("datasets", dataset_fingerprint)).uri
    params_model = None if spec.function else core.recipe_of_trials(spec).Params
    record = _by_optuna(spec, name, uri, dataset_uri, origin, core.defaults(spec, params_model), None, None)
    publish(record, uri)
    return record


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
    origin: dict[str, Any],
    first: dict[str, Any],
    current: Step | None,
    task_config: Any,
) -> SweepRecord:
    import yaml

    from shipway.components.sweep import experiment
    from shipway.components.sweep.boards import FOLDER
    from shipway.components.sweep.play import play as play_sweep
    from shipway.executors.passthrough import with_task_config
    from shipway.storage import open_folder

    if current is not None:
        current.output(tensorboard=f"{uri}/{FOLDER}")
    slots, threads = capacity(spec)
    store_uri = Context.current().store_uri
    record = play_sweep(
        spec,
        name,
        uri,
        origin,
        lambda runner: with_task_config(
            experiment.runner_manifest(spec, runner, uri, dataset_uri, store_uri, threads), task_config
        ),
        first=first,
        slots=slots,
        dataset_fingerprint=origin["dataset"],
        on_start=_ending_with(current),
    )
    text = yaml.safe_dump(_experiment(spec, name, dataset_uri, task_config), sort_keys=False)
    open_folder(uri).put("experiment.yaml", text.encode())  # the same sweep, for Katib
    return record


def _by_katib(
    spec: SweepSpec, name: str, dataset_uri: str, current: Step | None, task_config: Any
) -> list[TrialRecord]:
    from shipway import executors
    from shipway.components.sweep import katib
    from shipway.executors import identity

    context = Context.current()
    manifest = _experiment(spec, name, dataset_uri, task_config)
    manifest = identity.stamp(
        manifest, name=spec.training.name if spec.training else "", run=context.run,
        task=current.name if current else "sweep", namespace=context.namespace,
    )  # fmt: skip
    return katib.play(spec, manifest, executors.current(), _ending_with(current))


def _ending_with(step: Step | None) -> Callable[[Handle], None]:
    """Has a job that was started be cancelled with its step."""
    from shipway import executors

    executor = executors.current()

    def started(handle: Handle) -> None:
        if step is not None:
            step.job(handle.name, on_cancel=lambda: executor.cancel(handle))

    return started


def _experiment(spec: SweepSpec, name: str, dataset_uri: str, task_config: Any) -> Manifest:
    from shipway.components.sweep import experiment
    from shipway.executors.passthrough import with_task_config

    template = experiment.trial_template(spec, dataset_uri, Context.current().store_uri)
    return experiment.render(spec, name, with_task_config(template, task_config))


def capacity(spec: SweepSpec) -> tuple[int, int]:
    """How many trials run at once, and the threads of each: as many as their CPU requests leave room for here; a
    cluster's scheduler decides by itself."""
    wanted = max(1, min(spec.parallelTrialCount, core.most_trials(spec)))
    if Context.current().executor != "process":
        return wanted, 0
    cores = len(os.sched_getaffinity(0))
    asked = spec.training.resources.of("chief").cores if spec.training else 1.0
    slots = max(1, min(wanted, int(cores / max(asked, 0.001))))
    return slots, max(1, cores // slots)
