"""The plan before the work: what will run, where, with how many replicas, what it reads and writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shipway.cli.console import facts, heading, say, shown_params, table
from shipway.context import Context
from shipway.dag import tasks_of

if TYPE_CHECKING:
    from shipway.local.prepared import Prepared

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
    notes: list[str] = field(default_factory=list)  # what was settled, files skipped, quotes, columns left out


def make_run_plan(prepared: Prepared, *, with_key: bool = False, idempotency_key: str = "") -> RunPlan:
    """What was prepared, laid out step by step; where jobs go to a cluster, once that has judged them.

    Args:
        prepared: A run before it starts.
        with_key: Also work out the run's key and what there is to say of the data, which reads it.

        idempotency_key: That was given, of which the run's key is made then.

    Raises:
        UserError: what the cluster would refuse; with the key, data that does not fit.
    """
    context, configuration = Context.current(), prepared.configuration
    if configuration is not None:
        configuration.check_cluster(context, patience_s=PATIENCE_S)
    steps = [
        PlannedStep(
            task.name, task.title, task.image.rsplit("/", 1)[-1], task.cached,
            configuration.plan.work(task.name, configuration.specs) if configuration else "",
        )
        for task in tasks_of(prepared.pipeline.function.pipeline_spec).values()
    ]  # fmt: skip
    return RunPlan(
        pipeline=prepared.pipeline.name,
        params=prepared.params,
        home=str(context.home),
        store=context.store_uri,
        executor=context.executor,
        steps=steps,
        specs={name: each.model_dump(mode="json") for name, each in configuration.specs.items()}
        if configuration
        else {},
        run=prepared.key(given=idempotency_key) if with_key else "",
        notes=list(configuration.notes if with_key else configuration.settled) if configuration else [],
    )


def show_plan(plan: RunPlan) -> None:
    """The plan as tables."""
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
