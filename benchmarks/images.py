"""The image recipes against what a thumbnail says: average precision of tags on drawn scenes, and accuracy on digits.

    python -m benchmarks images       several minutes on two cores

Files go through prep, training, export and evaluation as a run's do, in one process. The baseline is a logistic
regression for each tag over thumbnails of 16 x 16 pixels, trained and scored on the same rows.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

SCENES = 1600
GOAL = 1.0
DIGITS_GOAL = 0.985
TAGS = {
    "dataset": {"recipe": "image_tags", "encoder": {"size": 64}, "labels": {"allow_none": True}},
    "training": {"epochs": 16, "params": {"width": 24, "flip": "horizontal", "shift": 0.05}},
}
DIGITS = {
    "dataset": {"recipe": "images", "encoder": {"size": 16, "channels": 1}, "test_fraction": 0.2},
    "training": {"epochs": 50, "params": {"shift": 0.1, "rotate": 10.0, "dropout": 0.3}},
}


def measure(name: str, data: Path, setting: Mapping[str, Any], folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """A model of the data: its dataset, its evaluation, and what it took."""
    from shipway.components.evaluate.measure import measure as score
    from shipway.components.evaluate.spec import EvaluationSpec
    from shipway.components.prep.make import make_dataset
    from shipway.components.prep.spec import DatasetSpec
    from shipway.storage import Store
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    store = Store.open((folder / "store").as_uri())
    dataset, _ = make_dataset(DatasetSpec(name=name, data=str(data), **setting["dataset"]), store)
    spec = FitSpec(
        name=name, recipe=dataset.recipe, batch_size=16, early_stopping={"metric": "val_loss", "patience": 40},
        **setting["training"],
    )  # fmt: skip
    began = time.monotonic()
    fitted = fit(spec, dataset, folder / "work")
    took = time.monotonic() - began
    model = publish(fitted, folder / "work", f"{store.uri}/jobs/{name}", name, "")
    (folder / "scratch").mkdir()
    record = score(model, dataset, EvaluationSpec(bootstrap=0), store=store, folder=folder / "scratch")
    rows = {split: part.rows for split, part in dataset.splits.items()}
    return dataset, record, {"rows": rows, "train_s": round(took), "weights": fitted.parameter_count}


def thumbnails(dataset: Any, tags: list[str]) -> dict[str, float]:
    """Average precision by tag of logistic regressions over thumbnails."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score

    from shipway.inputs import load_input
    from shipway.scoring.rows import read_rows

    kind = load_input("image")
    train, test = (pl.concat(list(read_rows(dataset, split, kind))) for split in ("train", "test"))
    features, transform = kind.fit_features(train)  # type: ignore[attr-defined]
    others = transform(test)
    precision = {}
    for tag in tags:
        has_it, is_true = (rows["label"].str.contains(f'"{tag}"', literal=True).to_numpy() for rows in (train, test))
        solver = LogisticRegression(C=10.0, solver="liblinear", dual=True, random_state=0, max_iter=1000)
        scores = solver.fit(features, has_it).decision_function(others)
        precision[tag] = float(average_precision_score(is_true, scores))
    return precision


def write_digits(folder: Path) -> Path:
    """scikit-learn's 1,797 handwritten digits as PNG files of 8 x 8 pixels, a folder for each."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(digit) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(path)
    return folder


def main() -> dict[str, Any]:
    """The benchmark's line: mean average precision over the baseline's, and whether the digits' goal is met too."""
    from shipway.demos.images import write_scenes

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "scenes", SCENES)
        places = [folder / "tags", folder / "digits"]
        for place in places:
            place.mkdir()
        dataset, record, tags = measure("scenes", folder / "scenes", TAGS, places[0])
        ours = {each["tag"]: each["average_precision"] for each in record.details["per_tag"]}
        theirs = thumbnails(dataset, list(ours))
        _, digits, details = measure("digits", write_digits(folder / "files"), DIGITS, places[1])
    accuracy = digits.metrics["accuracy"]
    mean, baseline = (float(np.mean(list(each.values()))) for each in (ours, theirs))
    return {
        "name": "images",
        "ratio": round(mean / baseline, 3),
        "goal": GOAL,
        "meets_goal": mean / baseline > GOAL and accuracy >= DIGITS_GOAL,
        "baseline": "mean average precision of a logistic regression by tag over 16 x 16 thumbnails, same rows",
        "details": {
            "scenes": {**tags, "ours": _rounded(ours), "thumbnails": _rounded(theirs)},
            "digits": {**details, "accuracy": round(accuracy, 4), "goal": DIGITS_GOAL},
        },
    }


def _rounded(precision: Mapping[str, float]) -> dict[str, float]:
    return {tag: round(value, 3) for tag, value in precision.items()}
