"""What a release's pod does: the launches of three rooms, one behind the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from shipway.components.deploy.launch import kserve
from shipway.components.promote.launch import gate
from shipway.components.register.launch import register
from shipway.steps import step

PARTS = {"gate": "Judge against the champion", "register": "Register", "deploy": "Deploy and check"}


class Released(NamedTuple):
    """What the component gives out."""

    decision: str
    version: int
    url: str


class Pages(NamedTuple):
    """KFP outputs: the decision's record and page, the model card, the deployment's page."""

    record: Any
    decision: Any
    card: Any
    deployment: Any


def release(model: Any, dataset: Any, evaluation: Any, promotion: str, endpoint: str, outputs: Pages) -> Released:
    """Judges a model, and registers and serves a blessed one.

    Each part finds again what an earlier attempt did: a registered model keeps its version, a served one its endpoint.

    Args:
        model: KFP artifact, a `ModelManifest` at its path.
        dataset: KFP artifact, a `DatasetManifest`.
        evaluation: KFP artifact, the model's `EvaluationRecord` on that dataset.
        promotion: `PromotionPolicy` as JSON or YAML.
        endpoint: `EndpointSpec` as JSON or YAML.
        outputs: KFP outputs.
    """
    with step("release", PARTS) as current:
        decision = gate(model, dataset, evaluation, outputs.record, outputs.decision, promotion)
        current.output(decision=decision)
        if decision != "blessed":
            _explain(outputs)
            return Released(decision, 0, "")
        version = register(model, dataset, evaluation, outputs.record, outputs.card).version
        current.output(version=version)
        url = kserve(model, evaluation, version, endpoint, outputs.deployment).url
        current.output(url=url)
        return Released(decision, version, url)


def _explain(outputs: Pages) -> None:
    """Kubeflow shows a page for each output: of a rejected model it says why there is nothing to see."""
    from shipway.artifacts import DecisionRecord
    from shipway.report import Report

    reason = DecisionRecord.read(outputs.record.path).reason
    for output, title in ((outputs.card, "Not registered"), (outputs.deployment, "Not deployed")):
        page = Report(title)
        page.callout("warn", "The model was rejected", reason)
        page.write(output.path)
