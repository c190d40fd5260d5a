"""Evaluation's held-out rows, sent through HTTP."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shipway.artifacts import EvaluationRecord, ModelManifest
from shipway.client import Client, NoAnswer
from shipway.components.deploy.core import CheckResult, Kept, chosen_rows, compare
from shipway.errors import CorruptArtifact, ShipwayError
from shipway.inputs import input_of
from shipway.patience import Patience
from shipway.recipes import load_stored_recipe
from shipway.specs import parse
from shipway.tasks.model_answers import ModelAnswers
from shipway.tasks.stored import task_of_model

BATCH = 32
BATCH_CHARS = 4 << 20  # of a request's JSON, which an endpoint bounds
LATENCY_ROWS = 200
# An endpoint is Ready before each node's proxy and each gateway knows the way to it.
OPENING = Patience(within_s=30.0, first_s=0.2, cap_s=1.0)
_PLACE = "shipway place"


def kept_rows(
    evaluation: EvaluationRecord,
    model: ModelManifest,
    wanted: int,
    *,
    settings: Mapping[str, Any] | None = None,
    recipes: Iterable[str] = (),
) -> Kept:
    """A fixed sample of the kept predictions.

    Args:
        evaluation: The record.
        model: That it is of; its recipe states task and input.
        wanted: Rows.
        settings: Of the answers; None: what the evaluation found.
        recipes: That the model may name, beside the shipped ones and SHIPWAY_RECIPES.

    Raises:
        CorruptArtifact: the file differs from its hash, or lacks columns that the record names.
        InvalidSpec: the recipe is not allowed here.
    """
    import polars as pl

    from shipway.scoring.predictions import read_columns
    from shipway.storage import open_folder

    recipes = list(recipes)
    task = task_of_model(model, recipes)
    kind = input_of(load_stored_recipe(model.recipe, f"model {model.name} ({model.uri})", recipes, model.code))
    file = evaluation.predictions
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "predictions.parquet"
        open_folder(evaluation.uri).download(file.path, path, sha256=file.sha256)
        rows = pl.scan_parquet(path, glob=False, row_index_name=_PLACE)
        chosen = chosen_rows(rows.select(pl.len()).collect().item(), wanted)
        lacking = {"preview", *evaluation.columns} - set(rows.collect_schema())
        if not len(chosen) or lacking or not evaluation.columns:
            what = f"lacks {', '.join(sorted(lacking))}" if lacking else "holds no predictions"
            raise CorruptArtifact(f"{evaluation.uri}/{file.path}: {what}; evaluate again with --fresh")
        frame = rows.filter(pl.col(_PLACE).is_in(chosen.tolist())).sort(_PLACE).collect()
    return Kept(
        kind,
        ModelAnswers.of(task, evaluation),
        parse(task.answers.Settings, evaluation.settings if settings is None else settings, "answers"),
        [kind.instance(row) for row in frame.drop(evaluation.columns).iter_rows(named=True)],
        [str(preview) for preview in frame["preview"]],
        read_columns(frame, evaluation.columns),
    )


def check_endpoint(url: str, kept: Kept, tolerance: float, version: int | None = None) -> CheckResult:
    """Asks the endpoint for every kept row and compares.

    Args:
        url: Predict URL (V1).
        kept: Rows and what to expect of them.
        tolerance: Largest difference of a number that is allowed.
        version: That must answer; None: whichever does.

    Raises:
        ShipwayError: another version answers.
        NoAnswer: nobody answers, for half a minute.
    """
    served: list[Any] = []
    latencies = []
    asked = kept.answers.answers.everything().model_dump(mode="json")
    total = len(kept.instances)
    with Client(url) as client:
        _open(client, kept.instances[:1])  # which is no part of a request's time
        single = min(total, LATENCY_ROWS)
        batches = [slice(i, i + 1) for i in range(single)]
        batches += _batches(kept.instances, single)
        for rows in batches:
            began = time.perf_counter()
            answers, answered = client.ask(kept.instances[rows], **asked)
            if rows.stop - rows.start == 1:
                latencies.append((time.perf_counter() - began) * 1000)
            if version is not None and answered != str(version):
                raise ShipwayError(
                    f"{client.url}: version {answered or 'unknown'} answers, expected {version}; "
                    "is another deployment of this endpoint running?"
                )
            served += answers
    return compare(kept, served, tolerance, latencies)


def _open(client: Client, instances: Sequence[Any]) -> None:
    tries = OPENING.tries()
    while True:
        try:
            client.predict(instances)
            return
        except NoAnswer:
            if not tries.again():
                raise


def _batches(instances: Sequence[Any], start: int) -> Iterator[slice]:
    """The instances from `start` on, few and small enough for one request each."""
    held = 0
    for end in range(start, len(instances)):
        size = len(json.dumps(instances[end]))
        if end > start and (end - start == BATCH or held + size > BATCH_CHARS):
            yield slice(start, end)
            start, held = end, 0
        held += size
    if start < len(instances):
        yield slice(start, len(instances))
