"""`sweep.search` finds the parameters with which a recipe does best, `sweep.function` those of a function of yours."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from shipway import images

# What is set on the task reaches the trials' replicas.
PASSED_ON = [
    dsl.TaskConfigField.RESOURCES,
    dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
    dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
    dsl.TaskConfigField.KUBERNETES_AFFINITY,
]


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def search(
    dataset: Input[Dataset],
    spec: str,
    sweep: Output[Artifact],
    report: Output[HTML],
    task_config: dsl.TaskConfig,
    code_fingerprint: str = "",
) -> NamedTuple("Outputs", [("best", str)]):  # type: ignore[valid-type]
    """Search for the recipe's best parameters on the eval split.

    Args:
        dataset: A `DatasetManifest`.
        spec: A `SweepSpec` as JSON or YAML, its `training` being what every trial trains.
        task_config: Given by Kubeflow: resources, accelerators, nodes set on the task, for the trials' replicas.
        code_fingerprint: Of the package and the recipe, so that changed code is searched anew.

        sweep: A `SweepRecord`: every trial with its parameters, metrics, seconds and state.
        report: Optimisation history, parallel coordinates, importance of each parameter.
        best: The best trial's parameters, JSON, for `train.job`; the defaults where no trial beat them clearly.
    """
    from collections import namedtuple

    from shipway.components.sweep import launch

    return namedtuple("Outputs", ["best"])(launch.search(dataset, spec, sweep, report, task_config))


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def function(
    spec: str,
    sweep: Output[Artifact],
    report: Output[HTML],
    task_config: dsl.TaskConfig,
    code_fingerprint: str = "",
) -> NamedTuple("Outputs", [("best", str)]):  # type: ignore[valid-type]
    """Search for the parameters with which a function of your own does best.

    Args:
        spec: A `SweepSpec` as JSON or YAML, its `function` being `module:name` of `training.code`.
        task_config: Given by Kubeflow: resources, accelerators, nodes set on the task, for the trials' replicas.
        code_fingerprint: Of the package, so that changed code is searched anew.

        sweep: A `SweepRecord`: every trial with its parameters, metrics, seconds and state.
        report: Optimisation history, parallel coordinates, importance of each parameter.
        best: The best trial's parameters, JSON.
    """
    from collections import namedtuple

    from shipway.components.sweep import launch

    return namedtuple("Outputs", ["best"])(launch.function(spec, sweep, report, task_config))
