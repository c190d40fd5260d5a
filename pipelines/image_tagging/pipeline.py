"""From images and their tags to a served, verified model: the steps of `train_and_deploy`, a plan of its own."""

from kfp import dsl

from shipway.pipelines.image_tagging.component import plan
from shipway.pipelines.train_and_deploy import steps


@dsl.pipeline(
    name="image-tagging", description="Prepare images, sweep, train, evaluate, judge, register and serve a tagger."
)
def image_tagging(
    name: str,
    data: str,
    image_column: str = "",
    tags_column: str = "",
    group_column: str = "",
    size: int = 0,
    network: str = "",
    preset: str = "default",
    strategy: str = "",
    workers: int = 0,
    epochs: int = 0,
    webhook: str = "",
    overrides: dict = {},  # noqa: B006 - kfp reads the literal, nobody mutates it
):
    """Prepare images, sweep, train, evaluate, judge, register and serve a model that names what they show.

    Args:
        name: Model's name: registry, champion and endpoint are kept per name.
        data: CSV or JSONL of paths and tags, a folder that holds one, or Parquet with the images: local path, `s3://`
            or HTTP address. Where the address is a secret: `env:NAME`, on Kubeflow `env:SHIPWAY_DATA`.
        image_column: Column that names each row's file (default `path`).
        tags_column: Column of the tags, `|` between them (default `label`).
        group_column: Rows of one group never stand on both sides of a split: pictures of one home.
        size: Height and width in pixels that the model sees; 0 for the preset's.
        network: What reads the images: `small`, `inception_v1` or `vgg19`.
        preset: `default`, `quick` or `thorough`: where the configuration starts from.
        strategy: `single`, `multi_worker`, `parameter_server` or `horovod`.
        workers: Training replicas; 0 for the preset's.
        epochs: Passes over the training split; 0 for the preset's.
        webhook: HTTP address told of the run's end; empty for the Secret's SHIPWAY_WEBHOOK, else none.
        overrides: Anything else, by section: `{"training": {"batch_size": 64}}`.
    """
    with dsl.ExitHandler(steps.tell(name, webhook), name="From images to a served model"):
        planned = plan(
            name=name,
            data=data,
            image_column=image_column,
            tags_column=tags_column,
            group_column=group_column,
            size=size,
            network=network,
            preset=preset,
            strategy=strategy,
            workers=workers,
            epochs=epochs,
            webhook=webhook,
            overrides=overrides,
        )
        steps.follow(planned)
