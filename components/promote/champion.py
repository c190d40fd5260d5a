"""The reigning champion on the challenger's test rows: found by name, loaded, scored, unless it was trained on them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isclose
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.artifacts import DatasetManifest, EvaluationRecord, FileRef, ModelManifest
from shipway.components.promote.comparison import Champion, Figures, compare
from shipway.components.promote.spec import ChampionRules
from shipway.errors import NotFound
from shipway.registry import ModelVersion, Registry
from shipway.scoring import ModelSession
from shipway.scoring.predictions import describe_rows, read_columns
from shipway.scoring.rows import input_columns, read_frames
from shipway.storage import open_folder
from shipway.tasks import Task, classes_in

_CHUNK = 1_000_000
_EXAMPLES = 20
_PREVIEW = 300


def meet_champion(
    registry: Registry,
    model: ModelManifest,
    task: Task,
    dataset: DatasetManifest,
    evaluation: EvaluationRecord,
    rules: ChampionRules,
    recipes: Sequence[str] = (),
) -> Champion:
    """What the rules need to know of the champion of the challenger's name.

    Args:
        registry: Knows the champion.
        model: The challenger.
        task: The challenger's.
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
    met = _meet(registry.at(standing), model, task, dataset, evaluation, rules, recipes)
    return replace(met, sequence=standing.sequence)


def _meet(
    version: ModelVersion,
    model: ModelManifest,
    task: Task,
    dataset: DatasetManifest,
    evaluation: EvaluationRecord,
    rules: ChampionRules,
    recipes: Sequence[str],
) -> Champion:
    number = version.version
    if _is_itself(version, model, evaluation):
        return Champion("same", f"it is version {number}, the champion, itself", number, version.digest)
    if version.model.task != model.task:
        return _other(version, f"task {version.model.task!r}, this model's is {model.task!r}")
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
    with _predictions(evaluation) as path:
        columns = input_columns(version.model, session.kind)
        if missing := set(columns) - set(pl.read_parquet_schema(path)):
            return _other(version, f"input {session.kind.name!r}, whose {', '.join(sorted(missing))} these rows lack")
        return replace(
            _compare(version, session, task, evaluation, rules, path, columns), new_labels=new, gone_labels=gone
        )


def _is_itself(version: ModelVersion, model: ModelManifest, evaluation: EvaluationRecord) -> bool:
    """Whether the challenger is the champion: it serves the same bytes, or it is an equal training, whose files have
    others and which answered the same rows equally well. That it states the same weights alone is no proof of those."""
    theirs = version.evaluation
    if (version.digest, version.model.serving) != (model.digest, model.serving):
        return False
    if version.model.served.digest == model.served.digest:
        return True
    if theirs is None or _rows_of(theirs) != _rows_of(evaluation) or theirs.metrics.keys() != evaluation.metrics.keys():
        return False
    near = version.model.served.tolerance
    return all(isclose(theirs.metrics[k], v, rel_tol=near, abs_tol=near) for k, v in evaluation.metrics.items())


def _rows_of(evaluation: EvaluationRecord) -> tuple[str, str]:
    return evaluation.dataset_fingerprint, evaluation.split


def _other(version: ModelVersion, how: str) -> Champion:
    detail = f"the champion (version {version.version}) has {how}: there is nothing to compare"
    return Champion("other", detail, version.version, version.digest)


def _compare(
    version: ModelVersion,
    session: ModelSession,
    task: Task,
    evaluation: EvaluationRecord,
    rules: ChampionRules,
    path: Path,
    columns: Sequence[str],
) -> Champion:
    frames = read_frames(path, ["label", "group_hash", *columns])
    theirs = pl.concat([describe_rows(session, frame) for frame in frames])
    ours = pl.read_parquet(path, columns=theirs.columns, glob=False)
    labels = ours["label"]
    classes = sorted({*evaluation.labels, *session.labels, *classes_in(task, labels)})
    everything = compare(task, theirs, ours, classes, rules)
    is_shared = _shared(task, labels, set(session.labels) & set(evaluation.labels))
    common: Figures | None = everything
    if not is_shared.all():
        common = compare(task, theirs, ours, classes, rules, is_shared) if is_shared.any() else None
    name = evaluation.primary.name
    measured = everything.metrics[name]
    return Champion(
        "compared",
        f"{name} {measured['challenger']:.4f} against {measured['champion']:.4f} of the champion "
        f"(version {version.version}) on the same {everything.rows} rows",
        version.version,
        version.digest,
        shared=common,
        all=everything,
        lost=_lost(task, evaluation, path, task.evaluation.credit(theirs) > task.evaluation.credit(ours)),
    )


def _shared(task: Task, labels: pl.Series, known: set[str]) -> NDArray[np.bool_]:
    """Rows all of whose classes both models know; all rows where the task has no classes."""
    classes = task.labels.classes(labels)
    if classes is None:
        return np.ones(len(labels), dtype=bool)
    return classes.list.eval(pl.element().is_in(list(known))).list.all().to_numpy()


def _lost(task: Task, evaluation: EvaluationRecord, path: Path, is_lost: NDArray[np.bool_]) -> list[dict[str, str]]:
    """The first rows that the champion answers better, with the challenger's answers as a terminal would show them."""
    places = np.flatnonzero(is_lost)[:_EXAMPLES]
    if not len(places):
        return []
    wanted = ["preview", "label", *evaluation.columns]
    rows = pl.concat(
        [pl.scan_parquet(path, glob=False).select(wanted).slice(int(place), 1).collect() for place in places]
    )
    asked = task.answers
    answers = asked.documents(
        evaluation.labels, read_columns(rows, evaluation.columns), asked.Params(), asked.Settings()
    )
    return [
        {"row": preview[:_PREVIEW], "is": label, **dict(zip(asked.headings, asked.line(answer), strict=True))}
        for preview, label, answer in zip(rows["preview"], rows["label"], answers, strict=True)
    ]


@contextmanager
def _predictions(evaluation: EvaluationRecord) -> Iterator[Path]:
    """The challenger's kept predictions, verified."""
    with tempfile.TemporaryDirectory(prefix="shipway-gate-") as folder:
        path = Path(folder) / "predictions.parquet"
        kept = evaluation.predictions
        open_folder(evaluation.uri).download(kept.path, path, sha256=kept.sha256)
        yield path


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
    shared = sum(int(np.isin(part, tested, assume_unique=True).sum()) for part in _hashes(theirs.uri, train))
    return shared, ""


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
