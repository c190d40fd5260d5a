"""The plan before the work: what will run, where, with how many replicas, what it reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shipway import references
from shipway.cli.console import facts, heading, say, table
from shipway.context import Context

PATIENCE_S = 5.0  # a person waits, and can type again


@dataclass
class PlannedStep:
    """One task, in the order of the pipeline."""

    task: str
    title: str
    image: str
    cached: bool  # whether an unchanged step comes from cache
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
    from shipway.local.pipelines import built_in, leaf_tasks, load_pipeline, reference_of
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
    steps = [_step(function.pipeline_spec, task, specs) for task in leaf_tasks(function.pipeline_spec)]
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


def _step(spec: Any, task: str, specs: Mapping[str, Any]) -> PlannedStep:
    found = _find_task(spec, spec.root.dag, task)
    component = spec.components[found.component_ref.name]
    container = spec.deployment_spec["executors"][component.executor_label]["container"]
    return PlannedStep(
        task=task,
        title=found.task_info.name or task,
        image=str(container["image"]).rsplit("/", 1)[-1],
        cached=bool(found.caching_options.enable_cache),
        detail=_detail(task, specs),
    )


def _find_task(spec: Any, dag: Any, name: str) -> Any:
    for task_name, task in dag.tasks.items():
        if task_name == name:
            return task
        inner = spec.components[task.component_ref.name]
        if inner.HasField("dag"):
            found = _find_task(spec, inner.dag, name)
            if found is not None:
                return found
    return None


def _detail(task: str, specs: Mapping[str, Any]) -> str:
    """How much work the step's spec asks for."""
    training, sweep = specs.get("training", {}), specs.get("sweep", {})
    if task in ("job", "train", "tfjob", "mpijob") and training:
        workers = training.get("workers", 1)
        epochs = f", {training['epochs']:g} epochs" if training.get("epochs") else ""
        return f"{training.get('strategy', 'single')}, {workers} worker{'s' if workers != 1 else ''}{epochs}"
    if task in ("katib", "sweep") and sweep:
        if sweep.get("maxTrialCount") in (0, 1):  # the step then runs none: there is nothing to choose from
            return "no search"
        algorithm = sweep.get("algorithm", {})
        name = algorithm.get("algorithmName", "") if isinstance(algorithm, Mapping) else str(algorithm)
        return (
            f"{name} {sweep.get('maxTrialCount', '?')} trials, {sweep.get('parallelTrialCount', 1)} at a time".strip()
        )
    if task in ("dataset", "ingest"):
        return str(specs.get("dataset", {}).get("data", ""))
    if task in ("kserve", "deploy"):
        return f"endpoint {specs.get('endpoint', {}).get('name', '')}".strip()
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
