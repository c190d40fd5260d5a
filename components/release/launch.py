"""What a release's pod does: the launches of three rooms, one behind the other."""

from __future__ import annotations

import random
import time
from typing import Any, NamedTuple

from shipway.components.deploy.launch import kserve
from shipway.components.promote.launch import gate
from shipway.components.register.launch import register
from shipway.errors import Superseded
from shipway.steps import Step, step

JUDGEMENTS = 6  # of one release, where others move the champion all the time
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
    """Judges a model, and registers and serves a blessed one; where the champion is moved meanwhile, anew.

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
        for judgement in range(1, JUDGEMENTS + 1):
            began = time.monotonic()
            try:
                return _release(model, dataset, evaluation, promotion, endpoint, outputs, current)
            except Superseded as error:
                if judgement == JUDGEMENTS:
                    raise
                print(f"release: {error}; judging again ({judgement} of {JUDGEMENTS - 1})", flush=True)
            # As long as this took, so that two releases of one name do not meet again and again.
            time.sleep((time.monotonic() - began) * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")


def _release(
    model: Any, dataset: Any, evaluation: Any, promotion: str, endpoint: str, outputs: Pages, current: Step
) -> Released:
    """One judgement, and what follows from it.

    Raises:
        Superseded: there is another champion by now than the one it was about.
    """
    decision = gate(model, dataset, evaluation, outputs.record, outputs.decision, promotion)
    current.output(decision=decision)
    if decision != "blessed":
        _take_note(outputs, current)
        _explain(outputs)
        return Released(decision, 0, "")
    version = register(model, dataset, evaluation, outputs.record, outputs.card).version
    current.output(version=version)
    url = kserve(model, evaluation, version, endpoint, outputs.deployment).url
    current.output(url=url)
    return Released(decision, version, url)


def _take_note(outputs: Pages, current: Step) -> None:
    """A version that an earlier judgement of this release had let through has the verdict that counts."""
    from shipway.artifacts import DecisionRecord
    from shipway.registry import Registry
    from shipway.storage import Store

    version = current.record.outputs.pop("version", None)
    if version is not None:
        decision = DecisionRecord.read(outputs.record.path)
        Registry(Store.open(current.context.store_uri)).decided(decision.name, int(str(version)), decision)


def _explain(outputs: Pages) -> None:
    """Kubeflow shows a page for each output: of a rejected model it says why there is nothing to see."""
    from shipway.artifacts import DecisionRecord
    from shipway.pages import Report

    reason = DecisionRecord.read(outputs.record.path).reason
    for output, title in ((outputs.card, "Not registered"), (outputs.deployment, "Not deployed")):
        page = Report(title)
        page.callout("warn", "The model was rejected", reason)
        page.write(output.path)
