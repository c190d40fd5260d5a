"""`train.job`: one task for every strategy; `train.tfjob` and `train.mpijob` insist on theirs; `train.function`."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from shipway import images

# What is set on the task reaches the job's replicas; the pod that launches it needs none of it.
PASSED_ON = [
    dsl.TaskConfigField.RESOURCES,
    dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
    dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
    dsl.TaskConfigField.KUBERNETES_AFFINITY,
]


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def job(
    dataset: Input[Dataset],
    spec: str,
    model: Output[Model],
    metrics: Output[Metrics],
    mlpipeline_ui_metadata: Output[Artifact],
    task_config: dsl.TaskConfig,
    best: str = "",
    code_fingerprint: str = "",
):
    """Train a model: as a TFJob, or as an MPIJob where the strategy is horovod.

    Args:
        dataset: A `DatasetManifest`.
        spec: A `TrainingSpec` as JSON or YAML.
        best: Recipe parameters that win over the spec's, JSON: what a sweep found. Empty for none.
        task_config: Given by Kubeflow: resources, accelerators, nodes set on the task, for the job's replicas.
        code_fingerprint: Of the package and the recipe, so that changed code is trained anew.

        model: A `ModelManifest`.
        metrics: Metrics of the recipe's task and the loss on the eval split, and the best step.
        mlpipeline_ui_metadata: Shows the TensorBoard viewer.
    """
    from shipway.components.train import launch

    launch.job(dataset, spec, best, model, metrics, mlpipeline_ui_metadata, task_config)


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def tfjob(
    dataset: Input[Dataset],
    spec: str,
    model: Output[Model],
    metrics: Output[Metrics],
    mlpipeline_ui_metadata: Output[Artifact],
    task_config: dsl.TaskConfig,
    best: str = "",
    code_fingerprint: str = "",
):
    """Train a model as a TFJob: strategy single, mirrored, multi_worker or parameter_server.

    Args:
        dataset: A `DatasetManifest`.
        spec: A `TrainingSpec` as JSON or YAML.
        best: Recipe parameters that win over the spec's, JSON: what a sweep found. Empty for none.
        task_config: Given by Kubeflow: resources, accelerators, nodes set on the task, for the job's replicas.
        code_fingerprint: Of the package and the recipe, so that changed code is trained anew.

        model: A `ModelManifest`.
        metrics: Metrics of the recipe's task and the loss on the eval split, and the best step.
        mlpipeline_ui_metadata: Shows the TensorBoard viewer.
    """
    from shipway.components.train import launch

    launch.tfjob(dataset, spec, best, model, metrics, mlpipeline_ui_metadata, task_config)


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def mpijob(
    dataset: Input[Dataset],
    spec: str,
    model: Output[Model],
    metrics: Output[Metrics],
    mlpipeline_ui_metadata: Output[Artifact],
    task_config: dsl.TaskConfig,
    best: str = "",
    code_fingerprint: str = "",
):
    """Train a model as an MPIJob: strategy horovod.

    Args:
        dataset: A `DatasetManifest`.
        spec: A `TrainingSpec` as JSON or YAML.
        best: Recipe parameters that win over the spec's, JSON: what a sweep found. Empty for none.
        task_config: Given by Kubeflow: resources, accelerators, nodes set on the task, for the job's replicas.
        code_fingerprint: Of the package and the recipe, so that changed code is trained anew.

        model: A `ModelManifest`.
        metrics: Metrics of the recipe's task and the loss on the eval split, and the best step.
        mlpipeline_ui_metadata: Shows the TensorBoard viewer.
    """
    from shipway.components.train import launch

    launch.mpijob(dataset, spec, best, model, metrics, mlpipeline_ui_metadata, task_config)


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def function(
    spec: str,
    training: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
    mlpipeline_ui_metadata: Output[Artifact],
    task_config: dsl.TaskConfig,
    data_fingerprint: str = "",
    code_fingerprint: str = "",
):
    """Have a function of your own called with one or many workers: as a TFJob, or as an MPIJob under horovod.

    Args:
        spec: A `FunctionSpec` as JSON or YAML.
        task_config: Given by Kubeflow: resources, accelerators, nodes set on the task, for the job's replicas.
        data_fingerprint: Of what lies at the addresses of `data`, so that it is trained anew where that changed.
        code_fingerprint: Of the package, so that changed code is trained anew.

        training: A `TrainingRecord`: metrics, and where the function's folder and logs lie.
        metrics: What the function returned or reported last.
        report: What it gave, how it went, where its folder lies.
        mlpipeline_ui_metadata: Shows the TensorBoard viewer.
    """
    from shipway.components.train import launch

    launch.function(spec, training, metrics, report, mlpipeline_ui_metadata, task_config)
