"""`train.job`: one task for every strategy; `train.tfjob` and `train.mpijob` insist on theirs."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from shipway import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def job(
    dataset: Input[Dataset],
    spec: str,
    model: Output[Model],
    metrics: Output[Metrics],
    mlpipeline_ui_metadata: Output[Artifact],
    best: str = "",
    code_fingerprint: str = "",
):
    """Train a model: as a TFJob, or as an MPIJob where the strategy is horovod.

    Args:
        dataset: A `DatasetManifest`.
        spec: A `TrainingSpec` as JSON or YAML.
        best: Recipe parameters that win over the spec's, JSON: what a sweep found. Empty for none.
        code_fingerprint: Of the package and the recipe, so that changed code is trained anew.

        model: A `ModelManifest`.
        metrics: Accuracy and loss on the eval split, steps, examples per second.
        mlpipeline_ui_metadata: Shows the TensorBoard viewer.
    """
    from shipway.components.train import launch

    launch.job(dataset, spec, best, model, metrics, mlpipeline_ui_metadata)


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def tfjob(
    dataset: Input[Dataset],
    spec: str,
    model: Output[Model],
    metrics: Output[Metrics],
    mlpipeline_ui_metadata: Output[Artifact],
    best: str = "",
    code_fingerprint: str = "",
):
    """Train a model as a TFJob: strategy single, mirrored or multi_worker.

    Args:
        dataset: A `DatasetManifest`.
        spec: A `TrainingSpec` as JSON or YAML.
        best: Recipe parameters that win over the spec's, JSON: what a sweep found. Empty for none.
        code_fingerprint: Of the package and the recipe, so that changed code is trained anew.

        model: A `ModelManifest`.
        metrics: Accuracy and loss on the eval split, steps, examples per second.
        mlpipeline_ui_metadata: Shows the TensorBoard viewer.
    """
    from shipway.components.train import launch

    launch.tfjob(dataset, spec, best, model, metrics, mlpipeline_ui_metadata)


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def mpijob(
    dataset: Input[Dataset],
    spec: str,
    model: Output[Model],
    metrics: Output[Metrics],
    mlpipeline_ui_metadata: Output[Artifact],
    best: str = "",
    code_fingerprint: str = "",
):
    """Train a model as an MPIJob: strategy horovod.

    Args:
        dataset: A `DatasetManifest`.
        spec: A `TrainingSpec` as JSON or YAML.
        best: Recipe parameters that win over the spec's, JSON: what a sweep found. Empty for none.
        code_fingerprint: Of the package and the recipe, so that changed code is trained anew.

        model: A `ModelManifest`.
        metrics: Accuracy and loss on the eval split, steps, examples per second.
        mlpipeline_ui_metadata: Shows the TensorBoard viewer.
    """
    from shipway.components.train import launch

    launch.mpijob(dataset, spec, best, model, metrics, mlpipeline_ui_metadata)
