"""`register.register`."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

from shipway import images


@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def register(
    model: Input[Model],
    dataset: Input[Dataset],
    evaluation: Input[Artifact],
    decision: Input[Artifact],
    card: Output[HTML],
) -> NamedTuple("Registered", [("version", int)]):  # type: ignore[valid-type]
    """Make a blessed model the next version of its name, with a model card, and point `candidate` at it.

    Registering the same model again gives the version that is there.

    Args:
        model: A `ModelManifest`; its files are copied into the registry, so that training may be cleaned up.
        dataset: The `DatasetManifest` that it was trained on.
        evaluation: Its `EvaluationRecord`.
        decision: The gate's `DecisionRecord`; a rejected model is refused.

        card: The model card as one page.
        version: The version's number.
    """
    from shipway.components.register import launch

    return launch.register(model, dataset, evaluation, decision, card)
