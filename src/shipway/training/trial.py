"""One trial of a sweep: a short training in this process. Imports a framework only as its recipe needs one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from shipway.artifacts import DatasetManifest
from shipway.recipes import FitsItself, load_recipe
from shipway.specs import parse
from shipway.storage import read_artifact
from shipway.tasks import task_of
from shipway.training.progress import Report
from shipway.training.publishing import Trained
from shipway.training.spec import TrainingDocument, end_metrics


def run_trial(document: Mapping[str, Any], report: Report) -> dict[str, float]:
    """One short training, for a sweep: strategy `single`, nothing published.

    With an `output_uri` it keeps checkpoints there and goes on from the last, as a job's training does: with the
    weights and batches of one that was never stopped.

    Several trials may follow each other in one process: the parsed dataset of a tf_keras model is kept between them,
    and every trial starts from the same state of the random generators, so that its result does not depend on what ran
    before.

    Args:
        document: A `TrainingDocument` as a mapping: `{"spec": {...FitSpec...}, "dataset_uri": "s3://..."}`.
        report: Called after every interval with the step and the metrics so far (`spec.reported_metrics`); returning
            False ends the trial there (pruned), raising `Pause` saves a checkpoint first.

    Returns:
        Metrics of the best evaluation, the standard error of the task's first (`val_<metric>_stderr`), and `steps`.

    Raises:
        Pause: the report raised it, and the training was not over.
        ShipwayError: the document, the dataset or a parameter cannot be used; any other exception is the model's.
    """
    parsed = parse(TrainingDocument, dict(document), "training")
    spec = parsed.spec.model_copy(update={"strategy": "single", "workers": 1})
    manifest = read_artifact(DatasetManifest, parsed.dataset_uri)
    recipe = load_recipe(spec.recipe)
    trained: Trained
    if isinstance(recipe, FitsItself):
        from shipway.training.own_fit import fit_itself

        trained, _ = fit_itself(spec, manifest, _trial_folder(), report=report)
    else:
        from shipway.training.loop import fit, start_afresh

        start_afresh()
        trained = fit(spec, manifest, _trial_folder(), output_uri=parsed.output_uri, report=report)
    task, state = task_of(recipe), trained.state
    ended = (task.head.stderr(np.array(state.best_sums)), float(state.step))
    return {**state.best_metrics, **dict(zip(end_metrics(task), ended, strict=True))}


@lru_cache(maxsize=1)
def _trial_folder() -> Path:
    import atexit
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="shipway-trials-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
