"""Learning curves of the intents model: what each part of it is worth at each number of rows a class.

    python -m benchmarks.curves [--seeds N] [--keep FOLDER] [set ...]     all of it takes hours on two cores

Test accuracy, on rows that are the same at every size, of a linear SVM over TF-IDF n-grams, of a logistic regression
over the sentence encoder's vectors, of the model without an encoder, of the solved member alone, of what is trained by
gradient alone, and of the model as it is served. `--keep` writes each model's logits, to try other ways of adding them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks._recipe_sets import NAMES
from benchmarks.few_shot import write_few
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.inputs.text import Text
from shipway.recipes.arrays import dense
from shipway.scoring.rows import read_rows
from shipway.storage import Store, embedded
from shipway.tasks.classification import baselines

ROWS: tuple[int | None, ...] = (5, 10, 20, 50, None)  # a class; sets have 80 to 104, so that 100 would be all
OTHERS = ("svm", "vectors", "without")
SIDES = (*OTHERS, "solved", "trained", "ours")
TRAINED = ("logits_1", "logits_2")  # a committee's members behind the solved one
EPOCHS = 12
SEEDS = 5
TEXT = Text()

Logits = dict[str, NDArray[np.float32]]  # by part of a model, shape (rows, classes)


def train(data: Path, encoder: str, seed: int, work: Path) -> tuple[dict[str, Logits], dict[str, pl.DataFrame], Any]:
    """Split -> logits of a trained model's parts, split -> rows, and the model's encoder."""
    import tf_keras

    from shipway.recipes import load_recipe
    from shipway.training import loop
    from shipway.training.spec import FitSpec

    settings = DatasetSpec(
        name=work.name, data=str(data), split_column="split", max_bad_fraction=0.9, on_unseen_label="quarantine",
        encoder={"sentence_encoder": encoder},
    )  # fmt: skip
    dataset = make_dataset(settings, Store.open("s3://shipway"))[0]
    work.mkdir()
    loop.start_afresh()
    spec = FitSpec(name=work.name, epochs=EPOCHS, seed=seed)
    fitted = loop.fit(spec, dataset, work)
    model = load_recipe("intents").build_model(spec.recipe_params(), fitted.encoder)
    model.set_weights(fitted.weights)
    parts = {"ours": model.output["logits"] if isinstance(model.output, dict) else model.output}
    parts |= {layer.name: layer.output for layer in model.layers if layer.name in ("solved", *TRAINED)}
    probe = tf_keras.Model(model.input, parts)
    rows = {split: pl.concat(list(read_rows(dataset, split, TEXT))) for split in ("train", "eval", "test")}
    logits = {}
    for split in ("eval", "test"):
        encoded = (fitted.encoder.encode(piece["text"].to_list()) for piece in rows[split].iter_slices(512))
        pieces = [probe(dense({name: piece[name] for name in model.input}), training=False) for piece in encoded]
        logits[split] = {name: np.concatenate([piece[name].numpy() for piece in pieces]) for name in parts}
    return logits, rows, fitted.encoder


def measure(data: Path, seed: int, work: Path, keep: Path | None) -> dict[str, float]:
    """Side -> test accuracy in per cent."""
    from scipy.special import log_softmax
    from sklearn.linear_model import LogisticRegression

    plain, _, _ = train(data, "none", seed, work / "without")
    began = time.monotonic()
    parts, rows, encoder = train(data, "use-multilingual-3", seed, work / "ours")
    seconds = time.monotonic() - began
    vectors = {split: encoder.sentences.encode(frame["text"].to_list()) for split, frame in rows.items()}
    regression = LogisticRegression(C=10.0, max_iter=1000).fit(vectors["train"], rows["train"]["label"].to_list())
    for split, found in parts.items():
        found["trained"] = np.mean([log_softmax(found[name], axis=1) for name in TRAINED], axis=0)
        found["without"] = plain[split]["ours"]
        found["vectors"] = np.full_like(found["ours"], -99.0)
        columns = [encoder.labels.index(label) for label in regression.classes_]
        found["vectors"][:, columns] = regression.predict_log_proba(vectors[split])
    names = np.array(encoder.labels)
    truth = rows["test"]["label"].to_numpy()
    svm = baselines.LinearSvm(TEXT, rows["train"], 0).predict([rows["test"]])["predicted"].to_numpy()
    answers = {"svm": svm} | {side: names[parts["test"][side].argmax(axis=1)] for side in SIDES[1:]}
    if keep is not None:
        named = {f"{split}_{name}": value for split, found in parts.items() for name, value in found.items()}
        ids = {f"{split}_labels": np.searchsorted(names, rows[split]["label"].to_numpy()) for split in parts}
        np.savez_compressed(keep / f"{data.stem}.npz", svm=svm == truth, names=names, **named, **ids)
    right = {side: round(100 * float((given == truth).mean()), 2) for side, given in answers.items()}
    return {"train_rows": len(rows["train"]), "test_rows": len(truth), "seconds": round(seconds, 1), **right}


def main(names: Sequence[str] = NAMES, seeds: int = SEEDS, keep: Path | None = None) -> dict[str, Any]:
    """The benchmark's line: accuracy over that of the best other side, the worst of all points."""
    lines: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="shipway-bench-") as scratch:
        folder = Path(scratch)
        os.environ["SHIPWAY_HOME"] = str(folder / "home")
        os.environ.update(embedded.environment(embedded.start(folder / "home")))
        try:
            for seed in range(seeds):
                for name in names:
                    for rows in ROWS:
                        data = folder / f"{name}-{rows or 'all'}-{seed}.csv"
                        write_few(data, name, rows, seed)
                        (work := folder / data.stem).mkdir()
                        line = measure(data, seed, work, keep)
                        shutil.rmtree(work)
                        lines.setdefault(f"{name}, {rows or 'all'}", []).append(line)
                        print(json.dumps({f"{name}, {rows or 'all'}, {seed}": line}), file=sys.stderr, flush=True)
        finally:
            embedded.stop(folder / "home", grace_s=0)
    points = {point: summary(of_seeds) for point, of_seeds in lines.items()}
    return {
        "name": "curves",
        "ratio": min(point["ratio"] for point in points.values()),
        "goal": "never below the best other side by more than the noise of the seeds",
        "meets_goal": all(point["behind"] <= 2 * point["behind_stderr"] for point in points.values()),
        "baseline": "the best of a linear SVM over n-grams, a logistic regression over vectors, and no encoder",
        "details": {"epochs": EPOCHS, "seeds": seeds, "points": points},
    }


def summary(lines: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over the seeds, and by how many points the best other side is ahead, with its standard error."""
    means = {side: round(statistics.mean(line[side] for line in lines), 2) for side in SIDES}
    best = max(OTHERS, key=means.__getitem__)
    behind = [line[best] - line["ours"] for line in lines]
    stderr = statistics.stdev(behind) / len(behind) ** 0.5 if len(behind) > 1 else 0.0
    return means | {
        "ratio": round(means["ours"] / means[best], 4),
        "behind": round(statistics.mean(behind), 2),
        "behind_stderr": round(stderr, 2),
        "seconds": round(statistics.mean(line["seconds"] for line in lines), 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sets", nargs="*", default=NAMES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    print(json.dumps(main(chosen.sets, chosen.seeds, chosen.keep), sort_keys=True))
