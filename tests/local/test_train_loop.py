"""The training loop in this process: trials, input, leases, architectures, a user's own recipe."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.artifacts import DatasetManifest, FeatureSpec, Shard
from shipway.errors import CorruptArtifact, InvalidData, ShipwayError
from shipway.scoring import ModelSession
from shipway.storage import open_folder
from tests.fixtures import own_recipe
from tests.fixtures.long_only import LONG_ONLY
from tests.fixtures.tiny_model import Tiny, document, make_dataset

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

# Tracing and converting recurrent cells takes ten times as long as training them; the LSTM stands for both.
SHORT: dict[str, Any] = {"steps": 12, "checkpoint_steps": 4, "batch_size": 16}


def never(_step: int, _metrics: dict[str, float]) -> bool:
    return True


def test_a_trial_does_not_depend_on_what_ran_before_it(tiny: Tiny, store_uri: str) -> None:
    from shipway.training.trial import run_trial

    told: list[int] = []

    def report(step: int, metrics: dict[str, float]) -> bool:
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(metrics)
        told.append(step)
        return True

    first = run_trial(document(tiny.dataset, None, **SHORT), report)
    other = run_trial(document(tiny.dataset, None, **SHORT, seed=5), never)
    again = run_trial(document(tiny.dataset, None, **SHORT), never)
    assert told == [4, 8, 12]
    assert first["steps"] == 12
    share, rows = first["val_accuracy"], tiny.dataset.splits["eval"].rows
    assert first["val_accuracy_stderr"] == pytest.approx((share * (1 - share) / rows) ** 0.5)
    assert first == again
    assert other != first


def test_a_pruned_trial_ends_at_the_interval_that_was_judged(tiny: Tiny, store_uri: str) -> None:
    from shipway.training.trial import run_trial

    assert run_trial(document(tiny.dataset, None, **SHORT), lambda step, _metrics: step < 8)["steps"] == 8


def test_the_share_of_time_that_steps_wait_for_input_is_measured_and_changes_no_weight(
    tiny: Tiny, store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from shipway.training import data as td
    from shipway.training.loop import fit, start_afresh
    from shipway.training.progress import Monitor
    from shipway.training.spec import FitSpec
    from shipway.training.usage import Usage

    def trained(name: str, usage: Usage | None) -> Any:
        start_afresh()
        return fit(FitSpec(**SHORT), tiny.dataset, tmp_path / name, monitor=Monitor(usage=usage))

    plain = trained("plain", None)
    usage = Usage(None)
    fitted = trained("watched", usage)
    usage.close()
    make = td.memory_batches

    def slow(*arguments: Any) -> Any:
        def later(*batch: Any) -> Any:
            waited = tf.numpy_function(lambda: time.sleep(0.3) or np.int64(0), [], tf.int64, stateful=True)
            with tf.control_dependencies([waited]):
                return tf.nest.map_structure(tf.identity, batch)

        return make(*arguments).map(later)

    monkeypatch.setattr(td, "memory_batches", slow)
    late = Usage(None)
    again = trained("late", late)
    late.close()
    for other in (fitted, again):
        assert all(np.array_equal(a, b) for a, b in zip(plain.weights, other.weights, strict=True))
    assert late.how == "memory"
    assert usage.input.share is not None
    assert late.input.share is not None
    assert late.input.share > max(usage.input.share, 1 / 3)


def test_early_stopping_keeps_the_best_weights(tiny: Tiny, store_uri: str, tmp_path: Path) -> None:
    from shipway.training.loop import fit
    from shipway.training.spec import EarlyStopping, FitSpec

    rule = EarlyStopping(metric="val_accuracy", patience=1, min_delta=0.99)
    fitted = fit(FitSpec(**{**SHORT, "early_stopping": rule}), tiny.dataset, tmp_path)
    assert fitted.state.step == 8  # the second interval improved by less than min_delta
    assert fitted.state.best_step in (4, 8)


def test_a_lapsed_lease_saves_a_checkpoint_from_which_the_run_goes_on(
    tiny: Tiny, store_uri: str, tmp_path: Path
) -> None:
    from shipway.errors import LeaseLapsed
    from shipway.training.checkpoint import Checkpoints
    from shipway.training.loop import fit
    from shipway.training.progress import LEASE_KEY, LeaseWatch, Monitor
    from shipway.training.spec import FitSpec

    output = f"{store_uri}/jobs/leased"
    open_folder(output).put(LEASE_KEY, b'{"number": 1}')  # a launcher that renewed once and died
    watch = LeaseWatch(output, 0.2)
    assert watch.lapsed.wait(30)
    spec = FitSpec(name="tiny", **SHORT)
    with pytest.raises(LeaseLapsed, match="the same run goes on from it"):
        fit(spec, tiny.dataset, tmp_path, output_uri=output, monitor=Monitor(lease=watch))
    assert Checkpoints(output, tmp_path, 2).latest() == 1
    resumed = fit(spec, tiny.dataset, tmp_path, output_uri=output)
    calm = fit(spec, tiny.dataset, tmp_path)
    assert resumed.state.step == calm.state.step == 12
    assert resumed.state.metrics["val_loss"] == pytest.approx(calm.state.metrics["val_loss"], rel=1e-5)


def test_a_trial_that_paused_goes_on_to_the_weights_of_one_that_was_never_stopped(
    tiny: Tiny, store_uri: str, tmp_path: Path
) -> None:
    from shipway.training.loop import fit, start_afresh
    from shipway.training.progress import Pause
    from shipway.training.spec import FitSpec
    from shipway.training.trial import run_trial

    def pausing_at(step: int) -> Any:
        def report(at: int, _metrics: dict[str, float]) -> bool:
            if at == step:
                raise Pause
            return True

        return report

    output = f"{store_uri}/sweeps/s/trials/0003"
    for step in (4, 8):  # each leg as a runner would play it
        with pytest.raises(Pause):
            run_trial(document(tiny.dataset, output, **SHORT), pausing_at(step))
    spec = FitSpec.model_validate(document(tiny.dataset, None, **SHORT)["spec"])
    start_afresh()
    resumed = fit(spec, tiny.dataset, tmp_path, output_uri=output, report=pausing_at(12))  # its end: no pause
    start_afresh()
    whole = fit(spec, tiny.dataset, tmp_path)
    assert resumed.state == whole.state
    for mine, theirs in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_what_was_solved_comes_back_from_the_checkpoint(
    tiny: Tiny, store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipway.recipes.intents import IntentsRecipe
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    def tables(weights: list[Any]) -> list[Any]:
        return [array for array in weights if array.dtype == np.float16]

    output = f"{store_uri}/jobs/solved"
    first = fit(FitSpec(steps=2, early_stopping=None), tiny.dataset, tmp_path, output_uri=output)
    (solved,) = tables(first.weights)
    assert np.abs(solved).max() > 0.1
    monkeypatch.delattr(IntentsRecipe, "solve_weights")
    again = fit(FitSpec(steps=2, early_stopping=None), tiny.dataset, tmp_path, output_uri=output)
    assert again.state.step == 2
    assert np.array_equal(tables(again.weights)[0], solved)


def test_a_checkpoint_of_another_model_is_said_to_be_one(tiny: Tiny, store_uri: str, tmp_path: Path) -> None:
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    output = f"{store_uri}/jobs/other"
    fit(FitSpec(params={"dim": 8, "hidden": 0}, steps=2), tiny.dataset, tmp_path, output_uri=output)
    with pytest.raises(ShipwayError, match="of another model; train with --fresh"):
        fit(FitSpec(params={"dim": 4, "hidden": 0}, steps=4), tiny.dataset, tmp_path, output_uri=output)


def test_streamed_input_reads_its_own_shards_and_resumes_where_it_was(store_uri: str, tmp_path: Path) -> None:
    from shipway.training import data as td
    from shipway.training import shards as sh
    from shipway.training.order import Share

    dataset = make_dataset(tmp_path)
    shards = _cut(dataset, 4)
    encoder, _ = sh.fetch_encoder(dataset, "intents", tmp_path)
    parser = td.Parser.of(dataset, encoder, dataset.features, {"label": FeatureSpec(dtype="int64", shape=[])})
    whole = parser.load(sh.fetch_shards(dataset, shards, tmp_path / "all"), sum(shard.rows for shard in shards))
    expected = Counter(_rows(parser.dense(whole)))
    found: Counter[bytes] = Counter()
    for rank in range(2):
        own = sh.own_shards(shards, Share(rank, 2))
        paths = sh.fetch_shards(dataset, own, tmp_path / f"own-{rank}")
        assert sum(1 for path in (tmp_path / f"own-{rank}").rglob("*.tfrecord*")) == len(own)
        rows = sum(shard.rows for shard in own)
        stream = list(td.stream_batches(parser, own, paths, 1, 3, 0).take(2 * rows))
        first, second = stream[:rows], stream[rows:]
        once = Counter(row for batch in first for row in _rows(batch))
        assert once == Counter(row for batch in second for row in _rows(batch))
        found += once
        rest = td.stream_batches(parser, own, paths, 1, 3, rows + 5).take(rows - 5)
        for undisturbed, resumed in zip(second[5:], rest, strict=True):
            assert _rows(undisturbed) == _rows(resumed)
    assert found == expected
    with pytest.raises(InvalidData, match="prepare it with smaller shards"):
        sh.own_shards(shards, Share(0, len(shards) + 1))


@pytest.mark.parametrize(("dtype", "pad"), [("int64", 0), ("float32", 0.0), ("bytes", b"")])
@pytest.mark.parametrize("inner", [[], [3]])
@pytest.mark.parametrize("lengths", [[0, 0], [2, 0, 5]])
def test_parsing_in_one_go_pads_as_parsing_and_padding_does(
    dtype: str, pad: object, inner: list[int], lengths: list[int]
) -> None:
    import tensorflow as tf

    from shipway.tasks.base import TARGET_PADDING
    from shipway.training.data import Parser

    kinds = {"int64": tf.train.Int64List, "float32": tf.train.FloatList, "bytes": tf.train.BytesList}
    fields = {"int64": "int64_list", "float32": "float_list", "bytes": "bytes_list"}

    def feature(kind: str, values: list[Any]) -> Any:
        return tf.train.Feature(**{fields[kind]: kinds[kind](value=values)})

    size = int(np.prod(inner, dtype=int))
    filling = {"int64": 7, "float32": 0.5, "bytes": b"x"}[dtype]
    records = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "row": feature(dtype, [filling] * length * size),
                    "label": feature("int64", [number]),
                    "label_each": feature("int64", [number] * length),
                    "label_score": feature("float32", [0.0] * length),
                }
            )
        ).SerializeToString()
        for number, length in enumerate(lengths)
    ]
    each = {
        "label_each": FeatureSpec(dtype="int64", shape=[None]),
        "label_score": FeatureSpec(dtype="float32", shape=[None]),
    }
    parser = Parser(
        {"row": FeatureSpec(dtype=dtype, shape=[None, *inner])},  # type: ignore[arg-type]
        {"label": FeatureSpec(dtype="int64", shape=[]), **each},
    )
    features, targets = parser.padded(tf.constant(records))
    expected, same = parser.dense(parser(tf.constant(records)))
    assert features["row"].numpy().tolist() == expected["row"].numpy().tolist()
    assert features["row"].shape == (len(lengths), max(*lengths, 1), *inner)
    assert np.ravel(features["row"][1]).tolist()[lengths[1] * size :] == [pad] * (max(*lengths, 1) - lengths[1]) * size
    assert targets["label"].numpy().tolist() == list(range(len(lengths)))
    for name, value in targets.items():
        np.testing.assert_array_equal(value, same[name])
    for name, spec in each.items():  # no value of a row: neither class 0 nor the number 0
        behind = np.asarray(targets[name])[1, lengths[1] :]
        np.testing.assert_array_equal(behind, np.full(len(behind), TARGET_PADDING[spec.dtype], behind.dtype))


def _cut(dataset: DatasetManifest, parts: int) -> list[Shard]:
    """The training split's records dealt to several shards; prep gives so few rows one."""
    import tensorflow as tf

    store = open_folder(dataset.uri)
    whole = store.get(dataset.splits["train"].shards[0].path)
    made = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "whole")
        source.write_bytes(whole)
        records = [record.numpy() for record in tf.data.TFRecordDataset(str(source))]
        for part in range(parts):
            path, mine = Path(folder, f"{part}"), records[part::parts]
            with tf.io.TFRecordWriter(str(path)) as writer:
                for record in mine:
                    writer.write(record)
            made.append(Shard(**store.upload(path, f"train/cut-{part}.tfrecord").model_dump(), rows=len(mine)))
    return made


def _rows(batch: tuple[dict[str, Any], dict[str, Any]]) -> list[bytes]:
    """Each row without its padding, as bytes."""
    features, targets = batch
    return [
        b"|".join(np.trim_zeros(np.asarray(features[name][row]), "b").tobytes() for name in sorted(features))
        + bytes([int(targets["label"][row])])
        for row in range(len(targets["label"]))
    ]


def test_a_damaged_shard_is_never_trained_on(store_uri: str, tmp_path: Path) -> None:
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    dataset = make_dataset(tmp_path, seed=99)
    shard = dataset.splits["train"].shards[0]
    store = open_folder(dataset.uri)
    store.put(shard.path, store.get(shard.path)[:-1] + b"x")
    with pytest.raises(CorruptArtifact, match=r"train/.*sha256"):
        fit(FitSpec(steps=2), dataset, tmp_path)


@pytest.mark.parametrize(
    "params",
    [
        {"architecture": "lstm", "units": 8},
        pytest.param({"architecture": "gru", "units": 8}, marks=LONG_ONLY),
        {"architecture": "cnn", "units": 8},
        {"architecture": "bag", "embeddings": "vectors.txt"},
    ],
    ids=lambda params: str(params["architecture"]) + ("+embeddings" if "embeddings" in params else ""),
)
def test_every_architecture_trains_and_serves_by_onnx(
    tiny: Tiny, store_uri: str, tmp_path: Path, params: dict[str, Any]
) -> None:
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    if "embeddings" in params:
        open_folder(store_uri).put("vectors.txt", b"2 4\nlight 1 0 0 0.5\nTimer 0 1 0 0\nunheard 0 0 0 1\n")
        params = {**params, "embeddings": f"{store_uri}/vectors.txt"}
    spec = FitSpec(name="tiny", params={"dim": 8, "hidden": 8, "word_dim": 8, **params}, steps=3, batch_size=16)
    fitted = fit(spec, tiny.dataset, tmp_path)
    model = publish(fitted, tmp_path, f"{store_uri}/jobs/architecture", "architecture", "")
    assert model.serving == "onnx", model.served.parity
    assert set(model.inputs) == {"grams", "words"}
    probabilities = ModelSession.open(model).predict(["turn on the light", "", "x"])["probabilities"]
    assert isinstance(probabilities, np.ndarray)
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-5)


def test_an_equal_training_is_the_same_model_whatever_bytes_its_files_have(
    tiny: Tiny, store_uri: str, tmp_path: Path
) -> None:
    """Here in one process, which also numbers layers and variables otherwise; another seed is another model."""
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    models = []
    for number, seed in enumerate((0, 0, 1)):
        spec = FitSpec(name="tiny", params={"dim": 8, "hidden": 8}, steps=3, batch_size=16, seed=seed)
        fitted = fit(spec, tiny.dataset, tmp_path / str(number))
        models.append(publish(fitted, tmp_path / str(number), f"{store_uri}/jobs/equal-{number}", f"job-{number}", ""))
    first, equal, other = models
    assert {variant.name: variant.speed is not None for variant in first.variants} == {
        "onnx": True,
        "saved_model": True,
    }
    assert (first.digest, first.weights) == (equal.digest, equal.weights)
    assert first.weights != other.weights
    assert first.digest != other.digest


def test_a_users_own_recipe_is_trained_and_served(store_uri: str, tmp_path: Path) -> None:
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    dataset: DatasetManifest = make_dataset(tmp_path, recipe=own_recipe.REFERENCE)
    assert dataset.features["letters"].shape == [128]
    fitted = fit(FitSpec(name="tiny", recipe=own_recipe.REFERENCE, steps=60, batch_size=32), dataset, tmp_path)
    model = publish(fitted, tmp_path, f"{store_uri}/jobs/own", "own", "")
    assert model.metrics["val_accuracy"] > 0.4
    session = ModelSession.open(model, recipes=[own_recipe.REFERENCE])  # as the later steps do: the run named it
    assert np.shape(session.predict(["what is the weather"])["probabilities"]) == (1, 5)
