"""The plan before the work: what will run, where, with how many replicas, what it reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shipway import references
from shipway.cli.console import facts, heading, say, table
from shipway.context import Context
from shipway.dag import tasks_of

PATIENCE_S = 5.0  # a person waits, and can type again


@dataclass
class PlannedStep:
    """One task, in the order of the pipeline."""

    task: str
    title: str
    image: str
    cached: bool  # whether an unchanged step comes from cache
    room: str = ""  # of our components, whose launch it runs
    detail: str = ""


@dataclass
class RunPlan:
    """What `--dry-run` prints."""

    pipeline: str
    params: dict[str, Any]
    home: str
    store: str
    executor: str
    steps: list[PlannedStep] = field(default_factory=list)
    specs: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    notes: list[str] = field(default_factory=list)  # files skipped, quotes, columns left out


def make_run_plan(pipeline: str, params: Mapping[str, Any], *, with_key: bool = False) -> RunPlan:
    """Validates everything that can be validated without starting anything; where jobs go to a cluster, by asking it.

    Args:
        pipeline: As for `shipway.run`.
        params: As typed; checked against the pipeline's inputs.
        with_key: Also work out the run's key, which reads the data.

    Raises:
        InvalidSpec: a parameter is wrong.
        UserError: what the cluster would refuse.
    """
    from shipway.local.pipelines import built_in, load_pipeline, reference_of
    from shipway.runs import check_params, run_key

    reference = reference_of(pipeline)
    checked, _ = references.hide(check_params(reference, pipeline, params))
    context = Context.current()
    specs: dict[str, Any] = {}
    notes: list[str] = []
    if pipeline in built_in():
        from shipway.components.plan.core import check_head, resolve
        from shipway.components.plan.launch import check_cluster

        resolved: dict[str, Any] = dict(resolve(pipeline, checked))
        check_cluster(resolved["training"], resolved["endpoint"], context, patience_s=PATIENCE_S)
        notes = check_head(resolved) if with_key else []
        specs = {name: spec.model_dump(mode="json") for name, spec in resolved.items()}
    function = load_pipeline(reference)
    steps = [
        PlannedStep(
            task.name, task.title, task.image.rsplit("/", 1)[-1], task.cached, task.room, _detail(task.room, specs)
        )
        for task in tasks_of(function.pipeline_spec).values()
    ]
    return RunPlan(
        pipeline=pipeline,
        params=checked,
        home=str(context.home),
        store=context.store_uri,
        executor=context.executor,
        steps=steps,
        specs=specs,
        run=run_key(pipeline, reference, checked, False) if with_key else "",
        notes=notes,
    )


def _detail(room: str, specs: Mapping[str, Any]) -> str:
    """How much work the step's spec asks for."""
    training, sweep = specs.get("training", {}), specs.get("sweep", {})
    if room == "train" and training:
        workers = training.get("workers", 1)
        epochs = f", {training['epochs']:g} epochs" if training.get("epochs") else ""
        return f"{training.get('strategy', 'single')}, {workers} worker{'s' if workers != 1 else ''}{epochs}"
    if room == "sweep" and sweep:
        if sweep.get("maxTrialCount") in (0, 1):  # the step then runs none: there is nothing to choose from
            return "no search"
        algorithm = sweep.get("algorithm", {})
        name = algorithm.get("algorithmName", "") if isinstance(algorithm, Mapping) else str(algorithm)
        return (
            f"{name} {sweep.get('maxTrialCount', '?')} trials, {sweep.get('parallelTrialCount', 1)} at a time".strip()
        )
    if room == "prep":
        return str(specs.get("dataset", {}).get("data", ""))
    if room in ("deploy", "release") and specs.get("endpoint"):
        return f"endpoint {specs['endpoint'].get('name', '')}".strip()
    return ""


def show_plan(plan: RunPlan) -> None:
    """The plan as tables."""
    from shipway.cli.kubeflow import shown_params

    heading(f"Plan: {plan.pipeline}")
    given = shown_params({key: value for key, value in plan.params.items() if key != "webhook"})
    where = "processes on this machine" if plan.executor == "process" else plan.executor
    pairs = [("parameters", given), ("runs as", where), ("local state", plan.home), ("writes to", plan.store)]
    if plan.run:
        pairs.append(("run key", plan.run))
    facts(pairs)
    rows = [
        (index, step.title, step.task, "if unchanged" if step.cached else "never", step.detail)
        for index, step in enumerate(plan.steps, 1)
    ]
    table(["#", "step", "task", "from cache", "work"], rows, right=["#"])
    for note in plan.notes:
        say(f"note: {note}")
