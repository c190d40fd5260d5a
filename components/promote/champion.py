"""The reigning champion on the challenger's test rows: found by name, loaded, scored, unless it was trained on them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.artifacts import DatasetManifest, EvaluationRecord, FileRef, ModelManifest
from shipway.components.promote.comparison import Champion, Figures, compare, numbered
from shipway.components.promote.spec import ChampionRules
from shipway.errors import NotFound
from shipway.registry import ModelVersion, Registry
from shipway.scoring import ModelSession
from shipway.storage import open_folder

_CHUNK = 1_000_000
_EXAMPLES = 20
_TEXT = 300


def meet_champion(
    registry: Registry,
    model: ModelManifest,
    dataset: DatasetManifest,
    evaluation: EvaluationRecord,
    rules: ChampionRules,
    recipes: Sequence[str] = (),
) -> Champion:
    """What the rules need to know of the champion of the challenger's name.

    Args:
        registry: Knows the champion.
        model: The challenger.
        dataset: Whose `evaluation.split` the challenger was scored on.
        evaluation: The challenger's; its kept predictions are the rows that the champion is scored on.
        rules: How to compare.
        recipes: That the champion's manifest may name, beside the shipped ones.

    Raises:
        CorruptArtifact: the champion or the predictions differ from their manifests.
    """
    standing = registry.champion(model.name)
    if standing.version is None:
        return Champion("none", f"there is no champion of {model.name} yet", sequence=standing.sequence)
    met = _meet(registry.at(standing), model, dataset, evaluation, rules, recipes)
    return replace(met, sequence=standing.sequence)


def _meet(
    version: ModelVersion,
    model: ModelManifest,
    dataset: DatasetManifest,
    evaluation: EvaluationRecord,
    rules: ChampionRules,
    recipes: Sequence[str],
) -> Champion:
    number = version.version
    if version.digest == model.digest:
        return Champion("same", f"it is version {number}, the champion, itself", number, version.digest)
    new = sorted(set(model.labels) - set(version.model.labels))
    gone = sorted(set(version.model.labels) - set(model.labels))
    leaked, why_unknown = _leak(version, dataset, evaluation.split)
    if leaked or why_unknown:
        detail = why_unknown or (
            f"the champion (version {number}) was trained on {leaked} groups of these test rows, so the comparison "
            "would flatter it"
        )
        return Champion(
            "unknown" if why_unknown else "leaked", detail, number, version.digest, new, gone, leaked_groups=leaked
        )
    session = ModelSession.open(version.model, recipes=recipes)
    return _compare(version, session, evaluation, rules, new, gone)


def _compare(
    version: ModelVersion,
    session: ModelSession,
    evaluation: EvaluationRecord,
    rules: ChampionRules,
    new: list[str],
    gone: list[str],
) -> Champion:
    truth: list[str] = []
    ours: list[str] = []
    theirs: list[str] = []
    groups: list[NDArray[np.int64]] = []
    lost: list[dict[str, str]] = []
    for frame in _predictions(evaluation):
        best = session.predict(frame["text"].to_list()).argmax(axis=1)
        frame = frame.with_columns(champion=pl.Series(session.labels, dtype=pl.String).gather(best))
        truth += frame["label"].to_list()
        ours += frame["predicted"].to_list()
        theirs += frame["champion"].to_list()
        groups.append(frame["group_hash"].to_numpy().view(np.int64))
        fallen = frame.filter((pl.col("champion") == pl.col("label")) & (pl.col("predicted") != pl.col("label")))
        lost += [
            {"text": row["text"][:_TEXT], "label": row["label"], "predicted": row["predicted"]}
            for row in fallen.head(_EXAMPLES - len(lost)).iter_rows(named=True)
        ]
    shared = set(session.labels) & set(evaluation.labels)
    is_shared = np.array([label in shared for label in truth], dtype=bool)
    (labels, champion, challenger), classes = numbered(truth, theirs, ours)
    group = np.concatenate(groups)

    everything = compare(labels, champion, challenger, group, classes, rules)
    common: Figures | None = everything
    if not is_shared.all():
        kept = (labels[is_shared], champion[is_shared], challenger[is_shared], group[is_shared])
        common = compare(*kept, classes, rules) if is_shared.any() else None
    measured = everything.metrics["accuracy"]
    return Champion(
        "compared",
        f"accuracy {measured['challenger']:.4f} against {measured['champion']:.4f} of the champion "
        f"(version {version.version}) on the same {everything.rows} rows",
        version.version,
        version.digest,
        new,
        gone,
        shared=common,
        all=everything,
        lost=lost,
    )


def _predictions(evaluation: EvaluationRecord) -> Iterator[pl.DataFrame]:
    """The challenger's kept predictions, a frame at a time."""
    with tempfile.TemporaryDirectory(prefix="shipway-gate-") as folder:
        path = Path(folder) / "predictions.parquet"
        kept = evaluation.predictions
        open_folder(evaluation.uri).download(kept.path, path, sha256=kept.sha256)
        rows = pl.scan_parquet(path, glob=False).select("text", "label", "predicted", "group_hash")
        for offset in range(0, evaluation.rows, 16_384):
            yield rows.slice(offset, 16_384).collect()


def _leak(version: ModelVersion, dataset: DatasetManifest, split: str) -> tuple[int, str]:
    """Groups of the test rows that the champion was trained on; or why that cannot be told."""
    if version.dataset_fingerprint == dataset.fingerprint:
        return 0, ""
    who = f"the champion (version {version.version})"
    try:
        document = open_folder(version.dataset_uri).get("manifest.json")
    except NotFound:
        return 0, f"{who} was trained on {version.dataset_uri}, which is gone: whether on these test rows is unknown"
    theirs = DatasetManifest.from_json(document, where=version.dataset_uri)
    ours, train = dataset.splits[split].group_hashes, theirs.splits["train"].group_hashes
    if ours is None or train is None:
        return 0, f"a dataset without group hashes: whether {who} was trained on these test rows is unknown"
    if theirs.group_column != dataset.group_column:
        return 0, (
            f"{who} was trained on rows grouped by {theirs.group_column or 'their text'}, these are grouped by "
            f"{dataset.group_column or 'their text'}: whether it saw these test rows is unknown"
        )
    tested = np.concatenate([*_hashes(dataset.uri, ours)])
    found = sum(int(np.isin(part, tested, assume_unique=True).sum()) for part in _hashes(theirs.uri, train))
    return found, ""


def _hashes(uri: str, file: FileRef) -> Iterator[NDArray[np.uint64]]:
    with tempfile.TemporaryDirectory(prefix="shipway-gate-") as folder:
        path = Path(folder) / "groups.parquet"
        open_folder(uri).download(file.path, path, sha256=file.sha256)
        offset = 0
        while True:
            part = (
                pl.scan_parquet(path, glob=False)
                .select("group_hash")
                .slice(offset, _CHUNK)
                .collect()["group_hash"]
                .to_numpy()
            )
            yield part
            offset += len(part)
            if len(part) < _CHUNK:
                return
