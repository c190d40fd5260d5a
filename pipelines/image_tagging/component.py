"""The plan task: the first of the pipeline, never cached."""

from typing import NamedTuple

from kfp import dsl

from shipway import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def plan(
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
) -> NamedTuple(  # type: ignore[valid-type]
    "Plan",
    [
        ("dataset", str),
        ("sweep", str),
        ("training", str),
        ("evaluation", str),
        ("promotion", str),
        ("endpoint", str),
        ("data_fingerprint", str),
        ("code_fingerprint", str),
    ],
):
    """Check the whole configuration in seconds and give each step exactly what it depends on.

    Args:
        name: Model's name; registry, champion and endpoint are kept per name.
        data: Local path, folder, `s3://`, `file://` or HTTP address of a table of images and tags, or of the images.
        image_column: Column that names each row's file; empty for the preset's.
        tags_column: Column of the tags; empty for the preset's.
        group_column: Rows of one group never stand on both sides of a split.
        size: Height and width that the model sees; 0 for the preset's.
        network: `small`, `inception_v1` or `vgg19`; empty for the preset's.
        preset: File of `params/` beside this one to start from.
        strategy: `single`, `multi_worker`, `parameter_server` or `horovod`; empty for the preset's.
        workers: Training replicas; 0 for the preset's.
        epochs: Passes over the training split; 0 for the preset's.
        webhook: Address that `notify` will call: only looked at, so that one that is none is refused now.
        overrides: Anything else, by section: `{"training": {"batch_size": 64}}`.

        dataset: DatasetSpec, canonical JSON.
        sweep: SweepSpec, canonical JSON.
        training: TrainingSpec, canonical JSON.
        evaluation: EvaluationSpec, canonical JSON.
        promotion: PromotionPolicy, canonical JSON.
        endpoint: EndpointSpec, canonical JSON.
        data_fingerprint: Changes when the bytes behind `data` do.
        code_fingerprint: Changes when the installed package does.
    """
    given = dict(locals())
    from shipway.planning.step import plan_step

    return plan_step("image_tagging", given)
