"""`evaluate.model`."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from shipway import images


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def model(
    model: Input[Model],
    dataset: Input[Dataset],
    evaluation: Output[Artifact],
    confusion: Output[ClassificationMetrics],
    metrics: Output[Metrics],
    report: Output[HTML],
    spec: str = "",
    code_fingerprint: str = "",
) -> None:
    """Score a model on one split of a dataset, beside simple baselines, with confidence intervals.

    Args:
        model: A `ModelManifest`; its files are verified before they are loaded.
        dataset: A `DatasetManifest`; rows of the split are read from it, the baselines are fitted on its `train`.
        spec: `EvaluationSpec` as JSON or YAML: split, slices, baselines, bootstrap, task; empty for the defaults.
        code_fingerprint: Of the installed code, from `plan`; it is there so that a change misses the cache.

        evaluation: An `EvaluationRecord` (JSON): metrics, intervals, baselines, slices, and what the task adds.
        confusion: The confusion matrix of a task that has one; above 60 classes, those with the most errors and one for
            the rest.
        metrics: The task's metrics by name.
        report: The evaluation as one page.
    """
    from shipway.components.evaluate import launch

    launch.evaluate(model, dataset, evaluation, confusion, metrics, report, spec)
