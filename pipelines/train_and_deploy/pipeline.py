"""From rows to a served, verified model: one pipeline function, here and on a cluster."""

from kfp import dsl

from shipway.components.deploy.component import kserve
from shipway.components.evaluate.component import classifier
from shipway.components.notify.component import notify
from shipway.components.plan.component import train_and_deploy as plan
from shipway.components.prep.component import dataset
from shipway.components.promote.component import gate
from shipway.components.register.component import register
from shipway.components.sweep.component import katib
from shipway.components.train.component import job


@dsl.pipeline(
    name="train-and-deploy", description="Prepare, sweep, train, evaluate, judge, register and serve a model."
)
def train_and_deploy(
    name: str,
    data: str,
    text_column: str = "",
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
        data: CSV, TSV, JSONL or Parquet, compressed or not: local path, folder, `s3://` or HTTP address.
        text_column: Column of the text (default `text`).
        label_column: Column of the label (default `label`).
        group_column: Rows of one group never stand on both sides of a split.
        split_column: Column that says train, eval or test; empty to split by a hash of the group.
        preset: `default`, `quick` or `thorough`: where the configuration starts from.
        recipe: Model code: `intents`, or your own `package.module:name`.
        strategy: `single`, `multi_worker` or `horovod`.
        workers: Training replicas; 0 for the preset's.
        epochs: Passes over the training split; 0 for the preset's.
        webhook: HTTP address told of the run's end; empty for none.
        overrides: Anything else, by section: `{"training": {"batch_size": 64}}`.
    """
    told = notify(name=name, webhook=webhook)
    told.set_display_name("Tell how it went").set_caching_options(False)
    with dsl.ExitHandler(told, name="From rows to a served model"):
        planned = plan(
            name=name,
            data=data,
            text_column=text_column,
            label_column=label_column,
            group_column=group_column,
            split_column=split_column,
            preset=preset,
            recipe=recipe,
            strategy=strategy,
            workers=workers,
            epochs=epochs,
            overrides=overrides,
        )
        planned.set_display_name("Check the configuration").set_caching_options(False)
        code = planned.outputs["code_fingerprint"]

        prepared = dataset(
            spec=planned.outputs["dataset"],
            data_fingerprint=planned.outputs["data_fingerprint"],
            code_fingerprint=code,
        ).set_display_name("Prepare the dataset")
        swept = katib(
            dataset=prepared.outputs["dataset"], spec=planned.outputs["sweep"], code_fingerprint=code
        ).set_display_name("Search hyperparameters")
        trained = job(
            dataset=prepared.outputs["dataset"],
            spec=planned.outputs["training"],
            best=swept.outputs["best"],
            code_fingerprint=code,
        ).set_display_name("Train")
        scored = classifier(
            model=trained.outputs["model"],
            dataset=prepared.outputs["dataset"],
            spec=planned.outputs["evaluation"],
            code_fingerprint=code,
        ).set_display_name("Evaluate")
        judged = gate(
            model=trained.outputs["model"],
            dataset=prepared.outputs["dataset"],
            evaluation=scored.outputs["evaluation"],
            spec=planned.outputs["promotion"],
        )
        judged.set_display_name("Judge against the champion").set_caching_options(False)
        with dsl.If(judged.outputs["decision"] == "blessed", name="Blessed"):
            registered = register(
                model=trained.outputs["model"],
                dataset=prepared.outputs["dataset"],
                evaluation=scored.outputs["evaluation"],
                decision=judged.outputs["record"],
            )
            registered.set_display_name("Register").set_caching_options(False)
            served = kserve(
                model=trained.outputs["model"],
                evaluation=scored.outputs["evaluation"],
                version=registered.outputs["version"],
                spec=planned.outputs["endpoint"],
            )
            served.set_display_name("Deploy and check").set_caching_options(False)
