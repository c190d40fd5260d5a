"""What `train`'s components do in their task: render the manifest, have it played, hand on what it published."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shipway.canonical import fingerprint
from shipway.errors import InvalidSpec
from shipway.steps import leave_file, step, write_metrics

if TYPE_CHECKING:
    from shipway.artifacts import DatasetManifest, ModelManifest
    from shipway.components.train.spec import FunctionSpec, TrainingSpec
    from shipway.executors import Event, Handle, Manifest, Outcome
    from shipway.storage import Store

OUR_OWN_GRACE_S = 30  # the operator's deadline fires only at the object's next update; ours comes a little later


def job(
    dataset: Any, spec: str, best: str, model: Any, metrics: Any, mlpipeline_ui_metadata: Any, task_config: Any = None
) -> None:
    """Trains; the manifest's kind follows the strategy. Arguments are KFP artifacts with `.path`."""
    _launch(dataset, spec, best, model, metrics, mlpipeline_ui_metadata, task_config, ())


def tfjob(
    dataset: Any, spec: str, best: str, model: Any, metrics: Any, mlpipeline_ui_metadata: Any, task_config: Any = None
) -> None:
    """`job`, refusing strategies that are no TFJob."""
    allowed = ("single", "mirrored", "multi_worker", "parameter_server")
    _launch(dataset, spec, best, model, metrics, mlpipeline_ui_metadata, task_config, allowed)


def mpijob(
    dataset: Any, spec: str, best: str, model: Any, metrics: Any, mlpipeline_ui_metadata: Any, task_config: Any = None
) -> None:
    """`job`, refusing strategies that are no MPIJob."""
    _launch(dataset, spec, best, model, metrics, mlpipeline_ui_metadata, task_config, ("horovod",))


def _launch(
    dataset: Any,
    spec: str,
    best: str,
    model: Any,
    metrics: Any,
    ui: Any,
    task_config: Any,
    allowed: tuple[str, ...],
) -> None:
    with step("train") as current:
        from shipway.artifacts import DatasetManifest
        from shipway.code import use
        from shipway.components.train.core import as_chosen
        from shipway.components.train.spec import TrainingSpec
        from shipway.specs import parse

        training = parse(TrainingSpec, spec, "training")
        use(training.code, "training.code")
        training, told = as_chosen(with_best(training, best), allowed)
        if told:
            print(told, flush=True)
        if allowed and training.strategy not in allowed:
            raise InvalidSpec(
                f"{training.strategy!r} is not for this component",
                field="training.strategy",
                given=training.strategy,
                allowed=f"one of {', '.join(allowed)}, or use train.job, which takes all",
            )
        manifest = train(training, DatasetManifest.read(dataset.path), current, task_config)
        manifest.write(model.path)
        write_metrics(metrics, manifest.metrics)
        leave_file(ui.path, _viewer(manifest.uri.rsplit("/", 1)[0]))


def function(
    spec: str, training: Any, metrics: Any, report: Any, mlpipeline_ui_metadata: Any, task_config: Any = None
) -> None:
    """Has a function of a person's own called in each replica, and writes its `TrainingRecord`."""
    with step("train") as current:
        from shipway.artifacts import TrainingRecord
        from shipway.components.train.core import render_function
        from shipway.components.train.page import training_report
        from shipway.components.train.spec import FunctionSpec
        from shipway.executors import identity
        from shipway.specs import parse
        from shipway.storage import open_folder
        from shipway.training.usage import kept as kept_usage

        asked = parse(FunctionSpec, spec, "training")
        context = current.context
        # What is called is part of the name: a folder that another function left is never taken for this one's.
        name = identity.job_name(asked.name, context.run, "train", f"{fingerprint(asked)} {current.name}")
        manifest = render_function(asked, name, store_uri=context.store_uri)
        handle, outcome = _played(asked, name, manifest, current, task_config)
        folder = open_folder(f"{context.store_uri}/jobs/{name}")
        result = json.loads(folder.get("result.json"))
        record = TrainingRecord(
            name=asked.name, function=asked.function, code=asked.code, params=asked.params, strategy=asked.strategy,
            workers=asked.workers, metrics=result["metrics"], history=result["history"], seconds=result["seconds"],
            uri=folder.uri, restarts=outcome.restarts,
        )  # fmt: skip
        record.write(training.path)
        folder.put("record.json", record.to_json().encode())
        page = training_report(record, kept_usage(folder.uri), context.run)
        page.write(report.path)
        folder.put("report.html", page.render().encode())
        current.report("Training", f"{folder.uri}/report.html")
        write_metrics(metrics, record.metrics)
        leave_file(mlpipeline_ui_metadata.path, _viewer(folder.uri))
        told = {"uri": folder.uri, "job": handle.name, "restarts": outcome.restarts, "workers": asked.workers}
        current.output(**{**{name: round(value, 5) for name, value in record.metrics.items()}, **told})


def _viewer(job_uri: str) -> str:
    """What makes Kubeflow's UI offer TensorBoard."""
    return json.dumps({"outputs": [{"type": "tensorboard", "source": f"{job_uri}/tensorboard"}]})


def with_best(spec: TrainingSpec, best: str) -> TrainingSpec:
    """The spec with a sweep's best recipe parameters laid over its own.

    Raises:
        InvalidSpec: `best` is no JSON object, or names parameters that the recipe does not have.
    """
    if not best.strip():
        return spec
    try:
        parameters = json.loads(best)
    except ValueError as error:
        raise InvalidSpec(f"not JSON ({error})", field="best", allowed="an object of recipe parameters") from error
    if not isinstance(parameters, dict):
        raise InvalidSpec(field="best", given=best, allowed="an object of recipe parameters")
    merged = spec.model_copy(update={"params": {**spec.params, **parameters}})
    return merged.model_copy(update={"params": merged.recipe_params().model_dump(mode="json")})


def train(spec: TrainingSpec, dataset: DatasetManifest, current: Any, task_config: Any = None) -> ModelManifest:
    """The trained model's manifest: an executor plays the job, or adopts the one that is already there.

    Raises:
        JobFailed: names the replica that failed first, with its last lines.
    """
    from shipway.components.train.core import render
    from shipway.executors import identity
    from shipway.scoring.folder import stored_manifest

    if spec.recipe != dataset.recipe:
        raise InvalidSpec(
            f"{spec.recipe!r}, but the dataset was encoded by {dataset.recipe!r}",
            field="training.recipe",
            fix="give both the same",
        )
    spec = spec if spec.name else spec.model_copy(update={"name": dataset.name})
    context = current.context
    name = identity.job_name(spec.name, context.run, "train", f"{dataset.fingerprint} {current.name}")
    manifest = render(spec, name, dataset.uri, store_uri=context.store_uri)
    handle, outcome = _played(spec, name, manifest, current, task_config)
    published = stored_manifest(f"{context.store_uri}/jobs/{name}/model")
    current.output(
        model=published.uri,
        job=handle.name,
        strategy=spec.strategy,
        workers=spec.workers,
        restarts=outcome.restarts,
        steps=published.steps,
        serving=published.serving,
        **{key: round(value, 5) for key, value in published.metrics.items()},
    )
    _report(spec, published, f"{context.store_uri}/jobs/{name}", outcome, current)
    return published


def _report(spec: TrainingSpec, model: ModelManifest, job_uri: str, outcome: Outcome, current: Any) -> None:
    """Puts the training's page beside its model; what replicas used, and what to change, among the step's facts."""
    from shipway.components.train.page import model_report
    from shipway.storage import open_folder
    from shipway.training import events, usage

    folder, usages = open_folder(job_uri), usage.kept(job_uri)
    key = f"tensorboard/{events.NAME}"
    curves = events.read_scalars(folder.get(key)) if folder.head(key) is not None else {}
    hint = usage.hint(usages, cpu=spec.resources.cpu, memory_limit_mb=spec.memory_limit_mb)
    where = {
        "model": model.uri, "TensorBoard": f"shipway tensorboard {current.context.run}", "restarts": outcome.restarts,
        "code": model.code or "installed",
    }  # fmt: skip
    folder.put("report.html", model_report(model, usages, curves, where, hint).render().encode())
    current.report("Training", f"{folder.uri}/report.html")
    current.output(replicas=[usage.in_short(each) for each in usages])
    waits = [each.waited_for_input for each in usages if each.waited_for_input is not None]
    if waits:
        current.output(waited_for_input=max(waits))
    if hint:
        print(hint, flush=True)
        current.output(hint=hint)


def _played(
    spec: TrainingSpec | FunctionSpec, name: str, manifest: Manifest, current: Any, task_config: Any
) -> tuple[Handle, Outcome]:
    """The job under its lease, to its end.

    Raises:
        JobFailed: names the replica that failed first, with its last lines.
        UserError: a replica told a user's mistake.
    """
    from shipway import executors, labels
    from shipway.executors import identity
    from shipway.executors.outcomes import raise_for
    from shipway.executors.passthrough import with_task_config
    from shipway.storage import Store

    context = current.context
    manifest = identity.stamp(
        with_task_config(manifest, task_config), name=spec.name, run=context.run, task=current.name, job=name,
        namespace=context.namespace,
    )  # fmt: skip
    manifest["metadata"]["labels"][labels.LEASE] = f"{spec.lease_s:g}"
    executor = executors.current()
    store = Store.open(context.store_uri)

    current.output(tensorboard=f"{context.store_uri}/jobs/{name}/tensorboard")  # `shipway tensorboard` goes by it

    def started(handle: Handle) -> None:
        current.job(handle.name, on_cancel=lambda: executor.cancel(handle))
        print(f"{handle.kind} {handle.name}: {spec.strategy}, {spec.workers} worker(s)", flush=True)

    chief = "worker-0" if spec.strategy == "horovod" else "chief-0"
    with leased(store, f"jobs/{name}/lease.json", spec.lease_s):
        handle, outcome = executors.play(
            executor, manifest, backoff_limit=spec.retries, on_event=lambda event: _tell(event, chief),
            on_start=started, deadline_s=spec.deadline_s + OUR_OWN_GRACE_S,
        )  # fmt: skip
    raise_for(outcome, handle)
    return handle, outcome


@contextmanager
def leased(store: Store, key: str, lease_s: float) -> Iterator[None]:
    """Renews a job's lease while the body runs; without it the job's chief saves a checkpoint and ends by itself."""
    ended = threading.Event()

    def renew() -> None:
        from shipway.errors import ShipwayError

        number = 0
        while True:
            number += 1
            document = {"number": number, "renewed_at": round(time.time(), 3), "lease_s": lease_s}
            try:
                store.put(key, json.dumps(document).encode())
            except ShipwayError as error:
                print(f"lease not renewed: {error}", flush=True)  # the next renewal may succeed
            if ended.wait(lease_s / 4):
                return

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)


def _tell(event: Event, chief: str) -> None:
    """For whoever reads the step's log, or watches the run; of several replicas the chief says how far it is."""
    if event.kind != "progress":
        print(f"{event.kind}: {event.message}", flush=True)
    elif event.data.get("replica") == chief:
        if event.data.get("interval"):
            print(f"{event.kind}: {event.message}", flush=True)
        if "step" in event.data:
            _tell_progress(event.data)


def _tell_progress(data: Mapping[str, Any]) -> None:
    """Steps, examples a second, the first metric of the eval split."""
    from shipway import step_progress
    from shipway.pages.numbers import figure
    from shipway.tasks import is_share

    words = [f"{data['examples_per_s']:,.0f} examples/s"] if data.get("examples_per_s") else []
    for name in [name for name in data if name.startswith("val_") and name != "val_loss"][:1]:
        words.append(f"{name.replace('_', ' ')} {figure(data[name], is_share(name.removeprefix('val_')))}")
    step_progress.tell(data["step"], data.get("total_steps"), "steps", ", ".join(words))
