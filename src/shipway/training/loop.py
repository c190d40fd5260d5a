"""The training loop: one `fit`, of whose epochs each is a checkpoint interval. Imports TensorFlow.

A sweep's trials call `run_trial`; `train`'s worker calls `fit` and then `shipway.training.export`.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from shipway.artifacts import DatasetManifest
from shipway.errors import RetryableError, ShipwayError
from shipway.recipes import Encoder, load_recipe
from shipway.recipes.layers import bind_steps
from shipway.specs import parse
from shipway.storage import read_artifact
from shipway.training import data as td
from shipway.training.callbacks import IntervalCallback, Monitor
from shipway.training.checkpoint import Arrays, Checkpoints, LoopState, shapes_match
from shipway.training.distribution import Distribution, open_distribution
from shipway.training.progress import Report
from shipway.training.solving import solve_weights
from shipway.training.spec import FitSpec, TrainingDocument

EVALUATION_BATCH = 256


class LostPeer(RetryableError):
    """Another worker of this job went away in the middle of a step."""


@dataclass
class Fitted:
    """What a training ends with.

    Attributes:
        weights: The best weights, in the order of `model.get_weights()`.
        state: The loop's state at the end.
        steps_per_epoch: Of the training split, a fraction where a batch spans two epochs.
    """

    spec: FitSpec
    dataset: DatasetManifest
    encoder: Encoder
    weights: Arrays
    state: LoopState
    parameter_count: int
    total_steps: int
    epochs: float
    distribution: Distribution
    monitor: Monitor = field(repr=False, default_factory=Monitor)


def run_trial(document: Mapping[str, Any], report: Report) -> dict[str, float]:
    """One short training in this process, for a sweep: strategy `single`, nothing published, no checkpoints.

    Several trials may follow each other in one process: the parsed dataset is kept between them, and every trial
    starts from the same state of the random generators, so that its result does not depend on what ran before.

    Args:
        document: A `TrainingDocument` as a mapping: `{"spec": {...FitSpec...}, "dataset_uri": "s3://..."}`.
        report: Called after every interval with the step and the metrics so far (`loss`, `accuracy`, `val_loss`,
            `val_accuracy`); returning False ends the trial there (pruned).

    Returns:
        Metrics of the best evaluation, `val_accuracy_stderr`, as if each of its rows stood for itself, and `steps`.

    Raises:
        ShipwayError: the document, the dataset or a parameter cannot be used; any other exception is the model's.
    """
    parsed = parse(TrainingDocument, dict(document), "training")
    spec = parsed.spec.model_copy(update={"strategy": "single", "workers": 1})
    tf_keras.backend.clear_session()
    manifest = read_artifact(DatasetManifest, parsed.dataset_uri)
    fitted = fit(spec, manifest, _trial_folder(), report=report)
    found, rows = fitted.state.best_metrics, manifest.splits["eval"].encoded_rows
    stderr = math.sqrt(found["val_accuracy"] * (1 - found["val_accuracy"]) / rows)
    return {**found, "val_accuracy_stderr": stderr, "steps": float(fitted.state.step)}


@lru_cache(maxsize=1)
def _trial_folder() -> Path:
    import atexit
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="shipway-trials-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


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
        report: See `run_trial`.
        monitor: Progress, watches.
        distribution: The opened strategy; None opens the spec's.

    Raises:
        LostPeer: another worker went away; the same command may succeed again.
        InvalidSpec, InvalidData, CorruptArtifact: as they say.
    """
    dist = distribution or open_distribution(spec)
    monitor = monitor or Monitor()
    try:
        return _fit(spec, manifest, work, output_uri, report, monitor, dist)
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.DeadlineExceededError,
        tf.errors.CancelledError,
    ) as error:
        raise LostPeer(f"another worker went away: {_first_line(error)}") from error
    except tf.errors.OpError as error:
        if dist.size > 1 and _is_collective(error):
            raise LostPeer(f"another worker went away: {_first_line(error)}") from error
        raise


def _is_collective(error: Exception) -> bool:
    """Horovod and some collectives report a lost peer as an internal or unknown error."""
    text = str(error).lower()
    return any(word in text for word in ("horovod", "collective", "socket closed", "connection reset", "heartbeat"))


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _fit(
    spec: FitSpec,
    manifest: DatasetManifest,
    work: Path,
    output_uri: str | None,
    report: Report | None,
    monitor: Monitor,
    dist: Distribution,
) -> Fitted:
    tf_keras.utils.set_random_seed(spec.seed)
    encoder, _ = td.fetch_encoder(manifest, spec.recipe, work)
    shards = td.split_shards(manifest, "train")
    rows = manifest.splits["train"].encoded_rows
    batch = spec.batch_size * dist.replicas
    total = spec.steps or math.ceil(spec.epochs * rows / batch)
    interval = min(spec.checkpoint_steps or math.ceil(rows / batch), total)

    model = build_model(spec, encoder, dist, total)
    parser = td.Parser({name: manifest.features[name] for name in input_names(model)})
    checkpoints = Checkpoints(output_uri, work, spec.keep_checkpoints) if output_uri else None

    def fresh() -> None:
        solve_weights(spec, model, encoder, lambda split: _loaded(parser, manifest, split, work))
        if monitor.stall is not None:
            monitor.stall.alive()

    state, best = _resume(spec, model, checkpoints, dist, fresh)
    _make_step(model, dist, monitor.audit)
    bind_steps(model, spec.seed, dist.rank if spec.strategy == "horovod" else 0)

    fitted = Fitted(
        spec=spec,
        dataset=manifest,
        encoder=encoder,
        weights=best or model.get_weights(),
        state=state,
        parameter_count=int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        total_steps=total,
        epochs=state.step * batch / rows,
        distribution=dist,
        monitor=monitor,
    )
    if state.finished or state.step >= total:
        return fitted
    evaluation = _Evaluation(model, parser, _loaded(parser, manifest, "eval", work), dist)
    interval_end = IntervalCallback(spec, state, best, dist, checkpoints, evaluation, monitor, report, total, interval)
    while not interval_end.state.finished:
        start = interval_end.state.step

        def batches(start: int = start) -> Any:
            return _input(spec, manifest, parser, shards, rows, batch, start, work, dist)

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
    fitted.weights, fitted.state = interval_end.best_weights or model.get_weights(), interval_end.state
    fitted.epochs = fitted.state.step * batch / rows
    return fitted


def build_model(spec: FitSpec, encoder: Encoder, dist: Distribution, total_steps: int) -> Any:
    """The recipe's model, compiled, its optimizer's variables made."""
    recipe, params = load_recipe(spec.recipe), spec.recipe_params()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if spec.mixed_precision else "float32")
    with dist.scope():
        model = recipe.build_model(params, encoder)
        recipe.compile_model(model, params, dist.optimizer_wrapper(), total_steps)
        model.optimizer.build(model.trainable_variables)
    return model


def input_names(model: Any) -> list[str]:
    """The encoded features that a model takes."""
    return sorted(getattr(model, "input_names", None) or model.input.keys())


def _make_step(model: Any, dist: Distribution, audit: bool) -> None:
    """Gives the model a train step that returns this batch's own numbers, not running means.

    Keras' metrics would be reduced over all workers at every step; ours are added up once an interval.
    """
    local = dist.local_replicas
    scale = float(dist.replicas) if isinstance(getattr(dist, "strategy", None), tf.distribute.Strategy) else 1.0

    def train_step(self: Any, batch: Any) -> dict[str, Any]:
        features, labels = batch
        with tf.GradientTape() as tape:
            logits = self(features, training=True)
            loss = self.compute_loss(features, labels, logits)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        if logits.shape.rank == 3:  # a committee in training: each member has its own loss, their mean answers
            logits = tf.reduce_mean(logits, axis=1)
        hits = tf.equal(tf.argmax(logits, axis=-1), tf.cast(labels, tf.int64))
        # A strategy divides the loss by the number of replicas, so that their gradients add up to the mean's.
        logs = {
            "loss": tf.cast(loss, tf.float32) * scale / local,
            "accuracy": tf.reduce_mean(tf.cast(hits, tf.float32)) / local,
        }
        if audit:
            parts = [tf.io.serialize_tensor(features[name]) for name in sorted(features)]
            whole = tf.strings.join([*parts, tf.io.serialize_tensor(labels)])
            logs["batch_hash"] = tf.strings.to_hash_bucket_fast(whole, 1 << 62)
        return logs

    model.train_step = types.MethodType(train_step, model)
    model.distribute_reduction_method = "sum" if dist.size == 1 else "first"


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
    state = LoopState(seed=spec.seed, workers=dist.size)
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
def _cached(uri: str, fingerprint: str, split: str, features: tuple[str, ...], work: Path) -> dict[str, Any]:
    manifest = read_artifact(DatasetManifest, uri)
    parser = td.Parser({name: manifest.features[name] for name in features})
    shards = td.split_shards(manifest, split)
    return parser.load(td.fetch_shards(manifest, shards, work / fingerprint), manifest.splits[split].encoded_rows)


def _loaded(parser: td.Parser, manifest: DatasetManifest, split: str, work: Path) -> dict[str, Any]:
    """A parsed split; kept, since the trials of a sweep share it."""
    return _cached(manifest.uri, manifest.fingerprint, split, tuple(parser.features), work)


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
) -> Any:
    size = sum(shard.size_bytes for shard in shards)
    large = size > spec.memory_limit_mb << 20
    if spec.input == "stream" or (spec.input == "auto" and large):
        own = td.own_shards(shards, dist.share)
        paths = td.fetch_shards(manifest, own, work / manifest.fingerprint)
        return td.stream_batches(parser, own, paths, batch // dist.size, spec.seed, start)
    return td.memory_batches(
        parser, _loaded(parser, manifest, "train", work), rows, batch, spec.seed, start, dist.share
    )


class _Evaluation:
    """Accuracy and cross-entropy on the eval split, each worker scoring its part of it."""

    def __init__(self, model: Any, parser: td.Parser, split: dict[str, Any], dist: Distribution) -> None:
        self._parser, self._split, self._dist = parser, split, dist
        names = input_names(model)
        signature = [
            {
                name: tf.TensorSpec([None, *parser.features[name].shape], td._DTYPES[parser.features[name].dtype])
                for name in names
            },
            tf.TensorSpec([None], tf.int64),
        ]

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def score(features: Any, labels: Any) -> Any:
            logits = tf.cast(model(features, training=False), tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            hits = tf.cast(tf.equal(tf.argmax(logits, -1), labels), tf.float64)
            return tf.stack([tf.reduce_sum(hits), tf.reduce_sum(tf.cast(losses, tf.float64))])

        self._score = score

    def sums(self) -> NDArray[np.float64]:
        """Hits, summed loss and rows of this worker's part."""
        total = np.zeros(3)
        for features, labels in td.padded_batches(self._parser, self._split, EVALUATION_BATCH, self._dist.share):
            hits, loss = np.asarray(self._score(features, labels))
            total += [hits, loss, float(labels.shape[0])]
        return total
