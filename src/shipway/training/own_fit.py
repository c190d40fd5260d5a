"""A recipe's own fit: started, measured, kept, and its ONNX held against it. Imports no framework."""

from __future__ import annotations

import math
import os
import random
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import DatasetManifest, Shard
from shipway.errors import InvalidSpec, LeaseLapsed, ShipwayError
from shipway.recipes import Encoder, FitsItself, Recipe, Rows, load_recipe
from shipway.recipes.base import OwnRecipe
from shipway.recipes.own_fit import Arrays, missing_package, packages_of
from shipway.tasks import Task, task_of
from shipway.tasks.base import MeasuresServed, TrainingHead
from shipway.training import shards as sh
from shipway.training.checkpoint import FolderCheckpoints, LoopState
from shipway.training.examples import Examples
from shipway.training.judging import Rule, judge
from shipway.training.order import ALONE, Share, permutation
from shipway.training.progress import Monitor, Report
from shipway.training.publishing import Trained
from shipway.training.rank import threads_of_this_process
from shipway.training.spec import FitSpec, check_training

MEASURED_TOGETHER = 256  # rows: what evaluation and the predictor give a model at once
LEASE_GRACE_S = 5.0  # for the fit to end by itself, once nobody renews its lease


class OwnFitting:
    """Implements `shipway.recipes.Fitting`."""

    def __init__(
        self,
        spec: FitSpec,
        manifest: DatasetManifest,
        encoder: Encoder,
        work: Path,
        *,
        share: Share,
        checkpoints: FolderCheckpoints | None,
        monitor: Monitor,
        report: Report | None,
    ) -> None:
        self.recipe, self.task = parts_of(spec)
        self.spec, self.manifest, self.encoder, self.work = spec, manifest, encoder, work
        self.seed, self.epochs, self.batch_size = spec.seed, spec.epochs, spec.batch_size
        self.threads = threads_of_this_process()
        self.rank, self.size = share.rank, share.size
        self.rule = Rule.of(spec, self.task)
        self.folder = work / "fit"
        shutil.rmtree(self.folder, ignore_errors=True)  # of the trial before
        self.folder.mkdir(parents=True)
        self.is_best = False
        self.state = LoopState(seed=spec.seed, workers=share.size)
        self._share, self._checkpoints, self._monitor, self._report = share, checkpoints, monitor, report
        self._examples = Examples.of(manifest, encoder, self.task.labels.targets(encoder))
        if checkpoints is not None:
            self.state = checkpoints.restore(self.folder) or self.state

    def rows(self, split: str) -> Rows:
        return self._examples.everything(*self._own(split))

    def batches(self, split: str, epoch: int = 0, size: int | None = None) -> Iterator[Rows]:
        paths, share = self._own(split)
        order = permutation(len(paths), self.seed, epoch) if split == "train" else np.arange(len(paths))
        return self._examples.batches([paths[i] for i in order], size or self.batch_size, share)

    def report(self, step: int, model: Any, **figures: float) -> bool:
        lease = self._monitor.lease
        if lease is not None and lease.lapsed.is_set():
            raise LeaseLapsed(_lapsed(f"at step {step}"))
        if self.rank:
            return True
        if step <= self.state.step and self.state.metrics:
            raise InvalidSpec(
                f"its fit reported step {step} after step {self.state.step}; steps grow",
                field=f"recipe {self.spec.recipe}",
            )
        self.state.step = step
        metrics, sums = self.measure(model)
        metrics = {**self._finite({name: float(value) for name, value in figures.items()}), **metrics}
        self.is_best = judge(self.rule, self.state, metrics, sums)
        going = self._tell(metrics)
        self.state.finished = self.state.finished or not going
        return not self.state.finished

    def save(self) -> None:
        if self._checkpoints is not None and not self.rank:
            self._checkpoints.save(self.state, self.folder)

    def conclude(self, model: Any) -> None:
        """Measures the model that `fit` gave: of what is published, whatever was reported on the way."""
        step = self.state.step  # 0 where it reported none
        metrics, sums = self.measure(model)
        was_told = bool(self.state.metrics)
        best = LoopState(step=step, seed=self.seed, workers=self.size, finished=True)
        judge(self.rule, best, metrics, sums)
        self.state = best
        if not was_told:
            self._tell(metrics)

    def measure(self, model: Any) -> tuple[dict[str, float], NDArray[np.float64]]:
        """`val_<name>` of the eval split, and the sums that they come from."""
        head = cast(MeasuresServed, self.task.head)
        sums: Any = 0.0
        for rows in self._examples.batches(self._own("eval")[0], MEASURED_TOGETHER):
            features, targets = self._examples.padded(rows)
            sums = sums + head.served_sums(predicted(self.recipe, self.task, self.encoder, model, features), targets)
        totals = cast(TrainingHead, head).totals(sums)
        metrics = {f"val_{name}": float(value) for name, value in totals.items()}
        return self._finite(metrics), sums

    def _finite(self, metrics: dict[str, float]) -> dict[str, float]:
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ShipwayError(f"recipe {self.spec.recipe}: {name} is {value} at step {self.state.step}")
        return metrics

    def _own(self, split: str) -> tuple[list[Path], Share]:
        """This worker's files of a split, and which part of their records: whole shards where there are enough."""
        shards = sh.split_shards(self.manifest, split)
        share = self._share if split == "train" else ALONE
        if len(shards) >= share.size:
            shards, share = sh.own_shards(shards, share), ALONE
        return _fetched(self.manifest, shards, self.work), share

    def _tell(self, metrics: dict[str, float]) -> bool:
        monitor, step = self._monitor, self.state.step
        if monitor.progress is not None:
            monitor.progress.write(step=step, interval=True, **metrics)
        if monitor.metric_lines is not None:
            monitor.metric_lines(step, metrics)
        if monitor.tensorboard is not None:
            monitor.tensorboard.write(step, metrics)
        return True if self._report is None else self._report(step, dict(metrics))


def fit_itself(
    spec: FitSpec,
    manifest: DatasetManifest,
    work: Path,
    *,
    output_uri: str | None = None,
    report: Report | None = None,
    monitor: Monitor | None = None,
    share: Share = ALONE,
) -> tuple[Trained, Any]:
    """Lets a recipe fit its model, and measures it.

    Args:
        spec: How.
        manifest: On what.
        work: Private folder of this replica.
        output_uri: `jobs/<job>`; None: no checkpoints.
        report: See `shipway.training.trial.run_trial`.
        monitor: Progress, watches.
        share: Which worker this is.

    Returns:
        What is published beside the model, and the model, as the recipe's `fit` gave it.

    Raises:
        UserError: a package is missing, or the recipe gives what its task cannot read.
        LeaseLapsed: nobody waits for this job any more.
    """
    recipe, _ = parts_of(spec)
    monitor = monitor or Monitor()
    with packages_needed(recipe):
        versions = packages_of(recipe)
        if output_uri is not None and find_spec("onnxruntime") is None:  # told before the fit, not behind it
            raise missing_package(recipe, "onnxruntime")
        encoder, _ = sh.fetch_encoder(manifest, spec.recipe, work)
        fitting = OwnFitting(
            spec, manifest, encoder, work, share=share, monitor=monitor, report=report,
            checkpoints=FolderCheckpoints(output_uri, spec.keep_checkpoints) if output_uri else None,
        )  # fmt: skip
        random.seed(spec.seed)  # of libraries that are given no seed: no trial may depend on the one before
        np.random.seed(spec.seed)
        with ended_with_its_lease(monitor):
            model = recipe.fit(spec.recipe_params(), encoder, fitting)
        if not fitting.rank:
            fitting.conclude(model)
    return (
        Trained(
            spec=spec,
            dataset=manifest,
            encoder=encoder,
            state=fitting.state,
            epochs=spec.epochs if fitting.state.step else 0,
            workers=share.size,
            versions=versions,
        ),
        model,
    )


def parts_of(spec: FitSpec) -> tuple[OwnRecipe, Task]:
    """The recipe, which fits by itself, and its task, which measures what is served (`spec.check_training`)."""
    check_training(spec)
    recipe = load_recipe(spec.recipe)
    assert isinstance(recipe, FitsItself)
    return cast(OwnRecipe, recipe), task_of(recipe)


def predicted(recipe: OwnRecipe, task: Task, encoder: Encoder, model: Any, features: Arrays) -> Arrays:
    """The task's served tensors of one batch, as the recipe predicts them.

    Raises:
        InvalidSpec: one is missing, or of another shape.
    """
    outputs = recipe.predict(model, features)
    where = f"recipe {recipe.name}: predict"
    if not isinstance(outputs, Mapping):
        raise InvalidSpec(field=where, given=type(outputs).__name__, allowed="a mapping of names to arrays")
    rows = len(next(iter(features.values())))
    return {
        name: fitting_array(np.asarray(outputs.get(name)), name, [rows, *shape], where, sorted(outputs))
        for name, shape in served_by(task, encoder).items()
    }


def served_by(task: Task, encoder: Encoder) -> dict[str, list[int | None]]:
    """Names and shapes, beyond the batch, of what a model of the task gives."""
    return cast(MeasuresServed, task.head).served(encoder.labels)


def fitting_array(
    value: NDArray[Any], name: str, shape: list[int | None], where: str, given: list[str]
) -> NDArray[Any]:
    """A served tensor of the shape that its task states; None is any length.

    Raises:
        InvalidSpec: it is missing, or of another shape; a dimension of 1 behind is none.
    """
    dimensions = list(value.shape)
    while len(dimensions) > len(shape) and dimensions[-1] == 1:
        dimensions.pop()
    is_same = len(dimensions) == len(shape) and all(b in (a, None) for a, b in zip(dimensions, shape, strict=True))
    if name not in given or not is_same:
        told = f"of shape {tuple(value.shape)}" if name in given else f"missing among {', '.join(given) or 'nothing'}"
        raise InvalidSpec(
            f"{name!r} is {told}", field=where, given=name, allowed=f"shape {tuple(shape)}, as its task states it"
        )
    return value.reshape(dimensions)


def rows_like(trained: Trained, work: Path, count: int) -> Arrays:
    """Encoded rows of the eval split, as a predictor would send them."""
    examples = Examples.of(trained.dataset, trained.encoder, {})
    paths = _fetched(trained.dataset, sh.split_shards(trained.dataset, "eval")[:1], work)
    return examples.padded(next(examples.batches(paths, count)))[0]


def _fetched(manifest: DatasetManifest, shards: list[Shard], work: Path) -> list[Path]:
    """Shards on this machine, each fetched once: verified, it appears whole."""
    folder = work / manifest.fingerprint
    sh.fetch_shards(manifest, [shard for shard in shards if not (folder / shard.path).exists()], folder)
    return [folder / shard.path for shard in shards]


@contextmanager
def packages_needed(recipe: Recipe) -> Iterator[None]:
    """A package that is not installed is told in one line, whatever imports it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_package(recipe, (error.name or str(error)).partition(".")[0]) from error


@contextmanager
def ended_with_its_lease(monitor: Monitor) -> Iterator[None]:
    """Ends this process once the job's lease has lapsed: a fit that reports nothing cannot be told to."""
    lease, is_over = monitor.lease, threading.Event()

    def watch() -> None:
        assert lease is not None
        lease.lapsed.wait()
        if not is_over.wait(LEASE_GRACE_S):
            print(f"error: {_lapsed('during its fit')}", file=sys.stderr, flush=True)
            os._exit(LeaseLapsed.exit_code)

    if lease is not None:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _lapsed(when: str) -> str:
    return (
        f"the lease of this job lapsed {when}: the step that started it is gone; the same run goes on from what the "
        "recipe saved"
    )
