"""The training loop of tf_keras models: one `fit`, of whose epochs each is a checkpoint interval. Imports TensorFlow.

`train`'s worker calls `fit` and then `shipway.training.export`, a sweep's trials `shipway.training.trial`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf
import tf_keras

from shipway.artifacts import DatasetManifest
from shipway.errors import ShipwayError
from shipway.recipes import Encoder, KerasRecipe, load_recipe
from shipway.recipes.layers import bind_steps
from shipway.storage import read_artifact
from shipway.tasks import task_of
from shipway.training import data as td
from shipway.training import shards as sh
from shipway.training.callbacks import IntervalCallback
from shipway.training.checkpoint import Arrays, Checkpoints, LoopState, shapes_match
from shipway.training.distribution import Distribution
from shipway.training.judging import Rule
from shipway.training.measure import Evaluation, input_names, make_step
from shipway.training.peers import lost_peer
from shipway.training.progress import Monitor, Pause, Report
from shipway.training.publishing import Trained
from shipway.training.solving import solve_weights
from shipway.training.spec import FitSpec
from shipway.training.strategies import open_distribution
from shipway.training.unpacking import UnreadableRecord, unreadable


@dataclass
class Fitted(Trained):
    """What a training of a tf_keras model ends with.

    Attributes:
        weights: The best weights, in the order of `model.get_weights()`.
        total_steps: That were planned.
    """

    weights: Arrays = field(default_factory=list)
    total_steps: int = 0


def start_afresh() -> None:
    """Forgets the models that this process made before."""
    tf_keras.backend.clear_session()


def fit(
    spec: FitSpec,
    manifest: DatasetManifest,
    work: Path,
    *,
    output_uri: str | None = None,
    report: Report | None = None,
    monitor: Monitor | None = None,
    distribution: Distribution | None = None,
) -> Fitted:
    """Trains to the end, from the job's current checkpoint where there is one.

    Args:
        spec: How.
        manifest: On what.
        work: Private folder of this replica.
        output_uri: `jobs/<job>`; None: no checkpoints.
        report: See `shipway.training.trial.run_trial`.
        monitor: Progress, watches.
        distribution: The opened strategy; None opens the spec's.

    Raises:
        Pause: the report asked for it, and a checkpoint was saved.
        LostPeer: another worker went away; the same command may succeed again.
        InvalidSpec, InvalidData, CorruptArtifact: as they say.
    """
    dist = distribution or open_distribution(spec)
    monitor = monitor or Monitor()
    try:
        return _fit(spec, manifest, work, output_uri, report, monitor, dist)
    except (tf.errors.OpError, UnreadableRecord) as error:
        if reason := unreadable(error):
            raise sh.unreadable_record(manifest, reason) from error
        if (lost := lost_peer(error, dist.workers)) is not None:
            raise lost from error
        raise


def _fit(
    spec: FitSpec,
    manifest: DatasetManifest,
    work: Path,
    output_uri: str | None,
    report: Report | None,
    monitor: Monitor,
    dist: Distribution,
) -> Fitted:
    task = task_of(load_recipe(spec.recipe))
    rule = Rule.of(spec, task)
    tf_keras.utils.set_random_seed(spec.seed)
    encoder, _ = sh.fetch_encoder(manifest, spec.recipe, work)
    shards = sh.split_shards(manifest, "train")
    rows = manifest.splits["train"].encoded_rows
    batch = spec.batch_size * dist.replicas
    total = spec.steps or math.ceil(spec.epochs * rows / batch)
    interval = min(spec.checkpoint_steps or math.ceil(rows / batch), total)

    model = build_model(spec, encoder, dist, total)
    targets = task.labels.targets(encoder)
    parser = td.Parser.of(manifest, encoder, input_names(model), targets)
    checkpoints = Checkpoints(output_uri, work, spec.keep_checkpoints) if output_uri else None

    def fresh() -> None:
        solve_weights(
            spec, model, encoder, targets, lambda split: parser.columns(_loaded(parser, manifest, split, work))
        )
        if monitor.stall is not None:
            monitor.stall.alive()

    state, best = _resume(spec, model, checkpoints, dist, fresh)
    make_step(model, task.head, dist, monitor.audit)
    bind_steps(model, spec.seed, dist.rank if spec.strategy == "horovod" else 0)

    fitted = Fitted(
        spec=spec,
        dataset=manifest,
        encoder=encoder,
        state=state,
        epochs=state.step * batch / rows,
        workers=dist.workers,
        parameter_count=int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        weights=best or model.get_weights(),
        total_steps=total,
    )
    if state.finished or state.step >= total:
        return fitted
    evaluation = Evaluation(model, task.head, parser, _loaded(parser, manifest, "eval", work), dist)
    interval_end = IntervalCallback(
        spec, rule, state, best, dist, checkpoints, evaluation, monitor, report, total, interval, rows / batch
    )
    while not interval_end.state.finished:
        start = interval_end.state.step

        def batches(start: int = start) -> Any:
            return _input(spec, manifest, parser, shards, rows, batch, start, work, dist, monitor)

        # A checkpoint taken in the middle of an interval (a lapsed lease) is followed by the rest of that interval
        # first, so that evaluations fall on the steps of the undisturbed run.
        rest = (-start) % interval or interval
        whole = 1 if rest < interval else math.ceil((total - start) / interval)
        first = start // interval
        model.stop_training = False
        model.fit(
            dist.dataset(batches),
            initial_epoch=first,
            epochs=first + whole,
            steps_per_epoch=rest,
            callbacks=[interval_end],
            verbose=0,
        )
        if interval_end.is_paused:
            raise Pause
    fitted.weights, fitted.state = interval_end.best_weights or model.get_weights(), interval_end.state
    fitted.epochs = fitted.state.step * batch / rows
    return fitted


def build_model(spec: FitSpec, encoder: Encoder, dist: Distribution, total_steps: int) -> Any:
    """The recipe's model, compiled, its optimizer's variables made."""
    recipe, params = cast(KerasRecipe, load_recipe(spec.recipe)), spec.recipe_params()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if spec.mixed_precision else "float32")
    with dist.scope():
        model = recipe.build_model(params, encoder)
        recipe.compile_model(model, params, dist.optimizer_wrapper(), total_steps)
        model.optimizer.build(model.trainable_variables)
    return model


def _resume(
    spec: FitSpec, model: Any, checkpoints: Checkpoints | None, dist: Distribution, fresh: Callable[[], None]
) -> tuple[LoopState, Arrays]:
    """The state to go on from, the same on every worker; `fresh` is called where there is no checkpoint.

    A worker that came back early may have read the pointer before the old chief's last write: what the chief says
    is added up over workers, and counts.
    """
    latest = checkpoints.latest() if checkpoints is not None else None
    told = dist.sum(np.array([float(-1 if latest is None else latest) if dist.is_chief else 0.0]))
    step = round(float(told[0]))
    state = LoopState(seed=spec.seed, workers=dist.workers)
    best: Arrays = []
    if checkpoints is not None and step >= 0:
        state, weights, optimizer, best = checkpoints.load(step)
        variables = list(model.optimizer.variables)
        if not shapes_match(weights, model.get_weights()) or not shapes_match(optimizer, variables):
            raise ShipwayError(f"checkpoint of step {step} is of another model; train with --fresh")
        model.set_weights(weights)
        for variable, value in zip(variables, optimizer, strict=True):
            variable.assign(value)
    else:
        fresh()
    dist.synchronise(model)
    return state, best


@lru_cache(maxsize=4)
def _cached(parser: td.Parser, uri: str, fingerprint: str, split: str, work: Path) -> dict[str, Any]:
    manifest = read_artifact(DatasetManifest, uri)
    shards = sh.split_shards(manifest, split)
    return parser.load(sh.fetch_shards(manifest, shards, work / fingerprint), manifest.splits[split].encoded_rows)


def _loaded(parser: td.Parser, manifest: DatasetManifest, split: str, work: Path) -> dict[str, Any]:
    """A parsed split; kept, since the trials of a sweep share it."""
    return _cached(parser, manifest.uri, manifest.fingerprint, split, work)


def _input(
    spec: FitSpec,
    manifest: DatasetManifest,
    parser: td.Parser,
    shards: list[Any],
    rows: int,
    batch: int,
    start: int,
    work: Path,
    dist: Distribution,
    monitor: Monitor,
) -> Any:
    size = max(sum(shard.size_bytes for shard in shards), 0 if parser.is_late else rows * manifest.unpacked_bytes)
    large = size > spec.memory_limit_mb << 20
    is_stream = spec.input == "stream" or (spec.input == "auto" and large)
    if monitor.usage is not None:
        monitor.usage.how = "stream" if is_stream else "memory"
    if is_stream:
        own = sh.own_shards(shards, dist.share)
        paths = sh.fetch_shards(manifest, own, work / manifest.fingerprint)
        return td.stream_batches(parser, own, paths, batch // dist.size, spec.seed, start)
    return td.memory_batches(
        parser, _loaded(parser, manifest, "train", work), rows, batch, spec.seed, start, dist.share
    )
