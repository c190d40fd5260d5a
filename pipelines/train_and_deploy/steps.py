"""The steps that follow a plan, for every pipeline that takes rows to a served model."""

from typing import Any

from kfp import dsl, kubernetes

from shipway.components.evaluate import component as evaluate
from shipway.components.notify.component import notify
from shipway.components.prep.component import dataset
from shipway.components.release.component import release
from shipway.components.sweep.component import search
from shipway.components.train.component import job
from shipway.store_secret import use_store

MINUTE, HOUR = 60, 3600


def tell(name: Any, webhook: Any) -> dsl.PipelineTask:
    """The exit handler: says how the run went, however it did."""
    return _step(notify(name=name, webhook=webhook), "Tell how it went", timeout_s=10 * MINUTE, retries=0, cached=False)


def follow(planned: dsl.PipelineTask) -> None:
    """Prepares, searches, trains, evaluates and releases.

    Args:
        planned: A plan task with the outputs of `TrainAndDeploy`: its sections and fingerprints.
    """
    _step(planned, "Check the configuration", timeout_s=10 * MINUTE, retries=0, cached=False)
    specs, code = planned.outputs, planned.outputs["code_fingerprint"]

    prepared = dataset(spec=specs["dataset"], data_fingerprint=specs["data_fingerprint"], code_fingerprint=code)
    _step(prepared, "Prepare the dataset", timeout_s=24 * HOUR)
    rows = prepared.outputs["dataset"]

    swept = search(dataset=rows, spec=specs["sweep"], code_fingerprint=code)
    _step(swept, "Search hyperparameters", timeout_s=7 * 24 * HOUR)

    trained = job(dataset=rows, spec=specs["training"], best=swept.outputs["best"], code_fingerprint=code)
    _step(trained, "Train", timeout_s=7 * 24 * HOUR)
    model = trained.outputs["model"]

    scored = evaluate.model(model=model, dataset=rows, spec=specs["evaluation"], code_fingerprint=code)
    _step(scored, "Evaluate", timeout_s=24 * HOUR)
    evaluation = scored.outputs["evaluation"]

    released = release(
        model=model, dataset=rows, evaluation=evaluation, promotion=specs["promotion"], endpoint=specs["endpoint"]
    )
    _step(released, "Judge, register and deploy", timeout_s=6 * HOUR, cached=False)


def _step(
    task: dsl.PipelineTask, title: str, *, timeout_s: int, retries: int = 2, cached: bool = True
) -> dsl.PipelineTask:
    """Names a task, leads it to storage, and bounds it: a pod whose image cannot be pulled would run for ever.

    Every launch adopts what its earlier attempt started, so that a retry costs nothing that was done.
    """
    task.set_display_name(title).set_caching_options(cached)
    if retries:
        task.set_retry(num_retries=retries, backoff_duration="10s")
    return use_store(kubernetes.set_timeout(task, timeout_s))
