"""`release.release`."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

from shipway import images


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def release(
    model: Input[Model],
    dataset: Input[Dataset],
    evaluation: Input[Artifact],
    promotion: str,
    endpoint: str,
    record: Output[Artifact],
    decision_report: Output[HTML],
    card: Output[HTML],
    report: Output[HTML],
) -> NamedTuple("Released", [("decision", str), ("version", int), ("url", str)]):  # type: ignore[valid-type]
    """Judge a model, and where it is blessed register it and serve it: `gate`, `register` and `kserve` as one task.

    A rejected model ends the task well, with nothing registered and nothing deployed.

    Args:
        model: The challenger's `ModelManifest`.
        dataset: The `DatasetManifest` that it was evaluated on.
        evaluation: Its `EvaluationRecord`.
        promotion: `PromotionPolicy` as JSON or YAML.
        endpoint: `EndpointSpec` as JSON or YAML.

        record: The gate's `DecisionRecord` (JSON).
        decision_report: The decision as one page.
        card: The model card; of a rejected model, why there is none.
        report: Parity and latency of the endpoint; of a rejected model, why there is none.
        decision: `blessed` or `rejected`.
        version: In the registry; 0 for a rejected model.
        url: Where predictions are asked for; empty for a rejected model.
    """
    from shipway.components.release import launch

    outputs = launch.Pages(record, decision_report, card, report)
    return launch.release(model, dataset, evaluation, promotion, endpoint, outputs)
