"""The plan task: the first of the pipeline, never cached."""

from typing import NamedTuple

from kfp import dsl

from shipway import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def plan(
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
        data: Local path, `s3://`, `file://` or HTTP address of CSV, TSV, JSONL or Parquet, compressed or not.
        input_column: Column of the input; empty for the preset's.
        label_column: Column of the label; empty for the preset's.
        group_column: Rows of one group never stand on both sides of a split.
        split_column: Column that says train, eval or test; empty to split by a hash of the group.
        preset: File of `params/` beside this one to start from.
        recipe: Model code: `intents`, `entities`, `images`, `image_tags`, or `module:name`; empty for the preset's.
        code: `s3://` address of a wheel, or of a folder of modules or of wheels, that the recipe is in; empty for none.
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
        code_fingerprint: Changes when the installed package or the recipe's source does.
    """
    given = dict(locals())
    from shipway.planning.step import plan_step

    return plan_step("train_and_deploy", given)
