"""From rows to a served, verified model: one pipeline function, here and on a cluster."""

from kfp import dsl

from shipway.pipelines.train_and_deploy import steps
from shipway.pipelines.train_and_deploy.component import plan


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
    code: str = "",
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
        recipe: Model code: `intents`, `entities`, `images`, `image_tags`, or your own `package.module:name`.
        code: The recipe's package, where no image has it: a wheel, or a folder of modules or of wheels; on Kubeflow its
            `s3://` address. Every step that needs it installs it.
        strategy: `single`, `multi_worker`, `parameter_server` or `horovod`.
        workers: Training replicas; 0 for the preset's.
        epochs: Passes over the training split; 0 for the preset's.
        webhook: HTTP address told of the run's end; empty for the Secret's SHIPWAY_WEBHOOK, else none.
        overrides: Anything else, by section: `{"training": {"batch_size": 64}}`.
    """
    with dsl.ExitHandler(steps.tell(name, webhook), name="From rows to a served model"):
        planned = plan(
            name=name,
            data=data,
            input_column=input_column,
            label_column=label_column,
            group_column=group_column,
            split_column=split_column,
            preset=preset,
            recipe=recipe,
            code=code,
            strategy=strategy,
            workers=workers,
            epochs=epochs,
            webhook=webhook,
            overrides=overrides,
        )
        steps.follow(planned)
