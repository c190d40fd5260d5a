"""A decision from its parts: reads what was measured, meets the champion, judges, publishes the record."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from shipway.artifacts import DatasetManifest, DecisionRecord, EvaluationRecord, ModelManifest
from shipway.canonical import fingerprint
from shipway.components.promote.champion import meet_champion
from shipway.components.promote.comparison import Champion
from shipway.components.promote.core import judge, verdict
from shipway.components.promote.html import decision_report
from shipway.components.promote.spec import PromotionPolicy, check_policy
from shipway.errors import InvalidSpec
from shipway.registry import Registry
from shipway.tasks.stored import reader, task_of_model


def decide(
    model: ModelManifest,
    dataset: DatasetManifest,
    evaluation: EvaluationRecord,
    policy: PromotionPolicy,
    registry: Registry,
) -> tuple[DecisionRecord, Champion]:
    """Judges a model and publishes `decisions/<id>/`, the record last.

    Raises:
        InvalidSpec: the evaluation is of another model or dataset, or the policy asks for what the task does not have.
        CorruptArtifact: what was measured differs from its hashes.
    """
    for what, given, wanted in (
        ("model", evaluation.model_digest, model.digest),
        ("variant", evaluation.variant_digest, model.served.digest),
        ("dataset", evaluation.dataset_fingerprint, dataset.fingerprint),
        ("task", evaluation.task, model.task),
    ):
        if given != wanted:
            raise InvalidSpec(
                f"the evaluation is of {what} {given}, not of {wanted}", field="gate", fix="pass the one of this model"
            )
    task = task_of_model(model, policy.recipes)
    policy, own = check_policy(policy, task)
    judged = list(task.evaluation.judge(own, evaluation, reader(evaluation)))
    champion = meet_champion(registry, model, task, dataset, evaluation, policy.champion, policy.recipes)
    rules = judge(policy, evaluation, judged, champion)
    blessed, reason = verdict(rules, champion)
    about = {
        "policy": policy.model_dump(mode="json"),
        "challenger": [model.digest, model.served.digest],
        "evaluation": evaluation.uri,
        "champion": [champion.version, champion.digest, champion.sequence],
    }
    prefix = f"decisions/{model.name}-{fingerprint(about)}"
    record = DecisionRecord(
        name=model.name,
        decision="blessed" if blessed else "rejected",
        reason=reason,
        rules=rules,
        challenger_digest=model.digest,
        challenger_variant=model.served.digest,
        champion_version=champion.version,
        champion_digest=champion.digest,
        champion_sequence=champion.sequence,
        comparison=asdict(champion),
        policy=policy.model_dump(mode="json"),
        uri=f"{registry.store.uri}/{prefix}",
        evaluation_uri=evaluation.uri,
        evaluation_seal=evaluation.seal,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    registry.store.put(f"{prefix}/report.html", decision_report(record, champion, evaluation).render().encode())
    registry.store.put(f"{prefix}/record.json", record.to_json().encode())
    return record, champion
