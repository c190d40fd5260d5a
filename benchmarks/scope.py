"""How well a bot tells texts that are none of its business, with a sentence encoder and without.

    python -m benchmarks.scope [set ...]        all sets take a quarter of an hour on two cores

AUROC of test rows against texts out of scope (0.5: no better than a coin), by the probability of a model without an
encoder, by that of one with it, and by its sureness; and the share of those texts that the calibrated threshold
refuses. One training each with the recipe's defaults; out of scope is another domain, or a third of the set's own
classes (`benchmarks._scope_sets`), of which nobody has seen a text.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import polars as pl

from benchmarks._scope_sets import HELD_OUT, NAMES, write_scope_set
from shipway.artifacts import ModelManifest
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.scoring import ModelSession
from shipway.scoring.predictions import describe_rows
from shipway.scoring.rows import read_rows
from shipway.storage import Store, embedded
from shipway.tasks.classification.threshold import ThresholdRule, calibrate, coverage_at

ALL = (*NAMES, *(f"{name}{HELD_OUT}" for name in NAMES))
ENCODERS = ("none", "use-multilingual-3")
EPOCHS = 12
GOAL = 0.975  # of every set whose outside is another domain


def trained(folder: Path, name: str, encoder: str, columns: dict[str, str]) -> ModelManifest:
    """A model of the set's rows, published in the store."""
    from shipway.training import export, loop
    from shipway.training.spec import FitSpec

    spec = DatasetSpec(
        name=f"{name}-{encoder}", data=str(folder / f"{name}.csv"), encoder={"sentence_encoder": encoder},
        on_unseen_label="quarantine", max_bad_fraction=0.2, **columns,
    )  # fmt: skip
    dataset = make_dataset(spec, Store.open("s3://shipway"))[0]
    work = folder / f"{name}-{encoder}"
    work.mkdir()
    loop.start_afresh()
    fitted = loop.fit(FitSpec(name=spec.name, epochs=EPOCHS), dataset, work)
    return export.publish(fitted, work, f"s3://shipway/bench/{spec.name}", "bench", "")


def measure(model: ModelManifest, outside: Sequence[str]) -> dict[str, dict[str, float]]:
    """Score -> AUROC, and at the calibrated threshold the shares of texts outside that are refused, of test rows that
    are answered, and of those that are right. Sureness is the probability where the encoder was left out."""
    from sklearn.metrics import roc_auc_score

    from shipway.artifacts import DatasetManifest
    from shipway.storage import read_artifact

    session = ModelSession.open(model)
    dataset = read_artifact(DatasetManifest, model.dataset_uri)
    rows = {
        split: pl.concat([describe_rows(session, frame) for frame in read_rows(dataset, split, session.kind)])
        for split in ("eval", "test")
    }
    right = {split: (frame["label"] == frame["predicted"]).to_numpy() for split, frame in rows.items()}
    answers = session.predict(list(outside))
    probability = np.asarray(answers["probabilities"]).max(axis=1)
    measured = {}
    for name, of_outside in {"probability": probability, "sureness": answers.get("sureness", probability)}.items():
        score = name if name in rows["test"].columns else "probability"
        inside = rows["test"][score].to_numpy()
        is_inside = np.repeat([True, False], [len(inside), len(of_outside)])
        cut = calibrate(rows["eval"][score].to_numpy(), right["eval"], ThresholdRule())
        coverage, accuracy = coverage_at(inside, right["test"], cut)
        measured[name] = {
            "auroc": round(float(roc_auc_score(is_inside, np.concatenate([inside, of_outside]))), 4),
            "refused": round(float((of_outside < cut).mean()), 4),
            "answered": round(coverage, 4),
            "right": round(accuracy, 4),
        }
    return measured


def main(names: Sequence[str] = ALL) -> dict[str, Any]:
    """The benchmark's line: AUROC by sureness over that by the probability of a model without an encoder, the mean of
    the sets."""
    sets: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="shipway-bench-") as scratch:
        folder = Path(scratch)
        os.environ["SHIPWAY_HOME"] = str(folder / "home")
        os.environ.update(embedded.environment(embedded.start(folder / "home")))
        try:
            for name in names:
                columns, outside = write_scope_set(folder / f"{name}.csv", name)
                without, with_it = (measure(trained(folder, name, each, columns), outside) for each in ENCODERS)
                sets[name] = {"without_encoder": without["probability"], **with_it}
                print(json.dumps({name: sets[name]}), file=sys.stderr, flush=True)
        finally:
            embedded.stop(folder / "home", grace_s=0)
    ratio = statistics.mean(line["sureness"]["auroc"] / line["without_encoder"]["auroc"] for line in sets.values())
    least = min((line["sureness"]["auroc"] for name, line in sets.items() if not name.endswith(HELD_OUT)), default=1.0)
    return {
        "name": "scope",
        "ratio": round(ratio, 4),
        "goal": 1.0,
        "meets_goal": ratio >= 1.0 and least >= GOAL,
        "baseline": "AUROC by the probability of a model without a sentence encoder, trained on the same rows",
        "details": {"least_of_other_domains": least, "sets": sets},
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:] or ALL), sort_keys=True))
