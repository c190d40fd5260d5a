"""`promote.gate`."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

from shipway import images


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def gate(
    model: Input[Model],
    dataset: Input[Dataset],
    evaluation: Input[Artifact],
    record: Output[Artifact],
    report: Output[HTML],
    spec: str = "",
) -> str:
    """Judge a model by a policy and against the reigning champion on the same test rows.

    A rejected model ends the branch that would register and deploy it, not the run.

    Args:
        model: The challenger's `ModelManifest`.
        dataset: The `DatasetManifest` that it was evaluated on; the champion, looked up by name, is scored on its rows.
        evaluation: The challenger's `EvaluationRecord`.
        spec: `PromotionPolicy` as JSON or YAML: thresholds, baselines, champion rules, the task's own.

        record: A `DecisionRecord` (JSON): each rule with its numbers.
        report: The decision as one page.
        Output: `blessed` or `rejected`; unnamed, since kfp.local takes a condition on a named output for false.
    """
    from shipway.components.promote import launch

    return launch.gate(model, dataset, evaluation, record, report, spec)
