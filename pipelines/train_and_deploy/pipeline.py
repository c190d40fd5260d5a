"""From rows to a served, verified model: one pipeline function, here and on a cluster."""

from kfp import dsl, kubernetes

from shipway.components.evaluate import component as evaluate
from shipway.components.notify.component import notify
from shipway.components.prep.component import dataset
from shipway.components.release.component import release
from shipway.components.sweep.component import katib
from shipway.components.train.component import job
from shipway.pipelines.train_and_deploy.component import plan
from shipway.store_secret import use_store

MINUTE, HOUR = 60, 3600


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


@dsl.pipeline(
    name="train-and-deploy", description="Prepare, sweep, train, evaluate, judge, register and serve a model."
)
def train_and_deploy(
    name: str,
    data: str,
    input_column: str = "",
    label_column: str = "",
    group_column: str = "",
    split_column: str = "",
    preset: str = "default",
    recipe: str = "",
    strategy: str = "",
    workers: int = 0,
    epochs: int = 0,
    webhook: str = "",
    overrides: dict = {},  # noqa: B006 - kfp reads the literal, nobody mutates it
):
    """Prepare, sweep, train, evaluate, judge, register and serve a model.

    Args:
        name: Model's name: registry, champion and endpoint are kept per name.
        data: CSV, TSV, JSONL or Parquet, compressed or not: local path, folder, `s3://` or HTTP address. Where the
            address is a secret: `env:NAME`, on Kubeflow `env:SHIPWAY_DATA`.
        input_column: Column of the input, where the recipe's has one (a text's default: `text`).
        label_column: Column of the label (default `label`).
        group_column: Rows of one group never stand on both sides of a split.
        split_column: Column that says train, eval or test; empty to split by a hash of the group.
        preset: `default`, `quick` or `thorough`: where the configuration starts from.
        recipe: Model code: `intents`, `entities`, or your own `package.module:name`.
        strategy: `single`, `multi_worker` or `horovod`.
        workers: Training replicas; 0 for the preset's.
        epochs: Passes over the training split; 0 for the preset's.
        webhook: HTTP address told of the run's end; empty for the Secret's SHIPWAY_WEBHOOK, else none.
        overrides: Anything else, by section: `{"training": {"batch_size": 64}}`.
    """
    told = _step(notify(name=name, webhook=webhook), "Tell how it went", timeout_s=10 * MINUTE, retries=0, cached=False)
    with dsl.ExitHandler(told, name="From rows to a served model"):
        planned = plan(
            name=name,
            data=data,
            input_column=input_column,
            label_column=label_column,
            group_column=group_column,
            split_column=split_column,
            preset=preset,
            recipe=recipe,
            strategy=strategy,
            workers=workers,
            epochs=epochs,
            webhook=webhook,
            overrides=overrides,
        )
        _step(planned, "Check the configuration", timeout_s=10 * MINUTE, retries=0, cached=False)
        specs, code = planned.outputs, planned.outputs["code_fingerprint"]

        prepared = dataset(spec=specs["dataset"], data_fingerprint=specs["data_fingerprint"], code_fingerprint=code)
        _step(prepared, "Prepare the dataset", timeout_s=24 * HOUR)
        rows = prepared.outputs["dataset"]

        swept = katib(dataset=rows, spec=specs["sweep"], code_fingerprint=code)
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
