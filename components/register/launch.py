"""What the registration's pod does."""

from __future__ import annotations

from typing import Any, NamedTuple

from shipway.artifacts import DatasetManifest, DecisionRecord, EvaluationRecord, ModelManifest
from shipway.errors import InvalidSpec
from shipway.steps import step


class Registered(NamedTuple):
    """What the component gives out."""

    version: int


def register(model: Any, dataset: Any, evaluation: Any, decision: Any, card: Any) -> Registered:
    """Makes a blessed model a version.

    Args:
        model: KFP artifact, a `ModelManifest` at its path.
        dataset: KFP artifact, a `DatasetManifest`.
        evaluation: KFP artifact, the model's `EvaluationRecord`.
        decision: KFP artifact, a `DecisionRecord`.
        card: KFP output, HTML.

    Raises:
        InvalidSpec: the decision is "rejected".
    """
    with step("register") as current:
        from shipway.registry import Registry
        from shipway.registry.card import card_html
        from shipway.storage import Store

        decided = DecisionRecord.read(decision.path)
        if decided.decision != "blessed":
            raise InvalidSpec(
                f"the model was rejected ({decided.reason}); only a blessed one is registered", field="register"
            )
        registry = Registry(Store.open(current.context.store_uri))
        version = registry.register(
            ModelManifest.read(model.path),
            evaluation=EvaluationRecord.read(evaluation.path),
            decision=decided,
            dataset=DatasetManifest.read(dataset.path),
            run=current.context.run,
        )
        with open(card.path, "w", encoding="utf-8") as file:
            file.write(card_html(version))
        current.output(name=version.name, version=version.version, model=version.model.uri, digest=version.digest)
        current.report("Model card", registry.card_uri(version.name, version.version))
        return Registered(version.version)
