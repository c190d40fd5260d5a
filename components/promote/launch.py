"""What the gate's pod does."""

from __future__ import annotations

from typing import Any

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.specs import parse
from shipway.steps import step


def gate(model: Any, dataset: Any, evaluation: Any, record: Any, report: Any, spec: str) -> str:
    """Judges a model by a policy and against the champion of its name.

    Args:
        model: KFP artifact, a `ModelManifest` at its path.
        dataset: KFP artifact, a `DatasetManifest`.
        evaluation: KFP artifact, the model's `EvaluationRecord` on that dataset.
        record, report: KFP outputs.
        spec: `PromotionPolicy` as JSON or YAML.

    Returns:
        "blessed" or "rejected".
    """
    with step("gate") as current:
        from shipway.code import use
        from shipway.components.promote.decide import decide
        from shipway.components.promote.html import decision_report
        from shipway.components.promote.spec import PromotionPolicy
        from shipway.registry import Registry
        from shipway.storage import Store

        policy = parse(PromotionPolicy, spec, "promotion")
        use(policy.code, "promotion.code")
        scored = EvaluationRecord.read(evaluation.path)
        decided, champion = decide(
            ModelManifest.read(model.path),
            DatasetManifest.read(dataset.path),
            scored,
            policy,
            Registry(Store.open(current.context.store_uri)),
        )
        current.output(
            uri=decided.uri,
            decision=decided.decision,
            reason=decided.reason,
            champion=champion.state,
            champion_version=champion.version,
            failed=[rule.rule for rule in decided.rules if rule.applies and not rule.passed],
        )
        current.report("Decision", f"{decided.uri}/report.html")
        decision_report(decided, champion, scored).write(report.path)
        decided.write(record.path)
        return decided.decision
