"""A decision from its parts: reads what was measured, meets the champion, judges, publishes the record."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np

from shipway.artifacts import DatasetManifest, DecisionRecord, EvaluationRecord, ModelManifest
from shipway.canonical import fingerprint, sha256_hex
from shipway.components.promote.champion import meet_champion
from shipway.components.promote.core import Champion, judge, verdict
from shipway.components.promote.html import decision_report
from shipway.components.promote.spec import PromotionPolicy
from shipway.errors import CorruptArtifact, InvalidSpec
from shipway.registry import Registry
from shipway.storage import open_folder


def decide(
    model: ModelManifest,
    dataset: DatasetManifest,
    evaluation: EvaluationRecord,
    policy: PromotionPolicy,
    registry: Registry,
) -> tuple[DecisionRecord, Champion]:
    """Judges a model and publishes `decisions/<id>/`, the record last.

    Raises:
        InvalidSpec: the evaluation is of another model or dataset.
        CorruptArtifact: what was measured differs from its hashes.
    """
    for what, given, wanted in (
        ("model", evaluation.model_digest, model.digest),
        ("dataset", evaluation.dataset_fingerprint, dataset.fingerprint),
    ):
        if given != wanted:
            raise InvalidSpec(f"gate: the evaluation is of {what} {given}, not of {wanted}; pass the one of this model")
    labels, counts = _confusion(evaluation)
    champion = meet_champion(registry, model, dataset, evaluation, policy.champion, policy.recipes)
    rules = judge(policy, evaluation, counts, labels, champion)
    blessed, reason = verdict(rules, champion)
    about = {
        "policy": policy.model_dump(mode="json"),
        "challenger": model.digest,
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
    registry.store.put(f"{prefix}/report.html", decision_report(record, champion).render().encode())
    registry.store.put(f"{prefix}/record.json", record.to_json().encode())
    return record, champion


def _confusion(evaluation: EvaluationRecord) -> tuple[list[str], np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """The kept confusion matrix and its labels, checked."""
    data = open_folder(evaluation.uri).get(evaluation.confusion.path)
    if sha256_hex(data) != evaluation.confusion.sha256:
        raise CorruptArtifact(f"{evaluation.uri}/{evaluation.confusion.path}: was changed; evaluate again with --fresh")
    document = json.loads(data)
    counts = np.array(document["counts"], dtype=np.int64).reshape(len(document["labels"]), -1)
    return document["labels"], counts
