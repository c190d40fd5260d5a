"""How the intents model's members make one answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from shipway.language import EncoderIdentity
from shipway.recipes import Ragged, load_recipe
from shipway.recipes.arrays import dense
from shipway.recipes.base import FinishesModel, SolvesWeights
from shipway.recipes.intents import limits, linear
from shipway.recipes.intents.encode import IntentsEncoder
from shipway.recipes.intents.params import Params
from shipway.recipes.intents.sentences import Sentences

ROWS = [(f"{verb} the {thing} {number}", thing) for verb in ("turn on", "stop") for thing in "abcd" for number in "123"]
TEXTS = [text for text, _ in ROWS]
in_tensorflow = pytest.mark.xdist_group("tensorflow")


def fitted(rows: list[tuple[str, str]] = ROWS, **params: Any) -> IntentsEncoder:
    recipe = load_recipe("intents")
    frame = pl.DataFrame(rows, schema=["text", "label"], orient="row")
    encoder = recipe.fit_encoder([frame], recipe.EncoderParams(**{"buckets": 4096, **params}))
    assert isinstance(encoder, IntentsEncoder)
    return encoder


def split(encoder: IntentsEncoder, rows: list[tuple[str, str]] = ROWS) -> tuple[Ragged, np.ndarray[Any, Any]]:
    grams = encoder.encode([text for text, _ in rows])["grams"]
    assert isinstance(grams, Ragged)
    return grams, np.array([encoder.labels.index(label) for _, label in rows])


def built(encoder: IntentsEncoder, **params: Any) -> Any:
    """A compiled model, what it solves for solved."""
    recipe = load_recipe("intents")
    assert isinstance(recipe, SolvesWeights)
    chosen = recipe.Params(dim=4, hidden=8, **params)
    model = recipe.build_model(chosen, encoder)
    recipe.compile_model(model, chosen)
    grams, labels = split(encoder)
    told = recipe.solve_weights(model, chosen, encoder, lambda _split: ({"grams": grams}, {"label": labels}))
    assert told
    return model


def inputs(encoder: IntentsEncoder, texts: list[str] = TEXTS) -> dict[str, Any]:
    return {"grams": dense(encoder.encode(texts))["grams"]}


def outputs(model: Any, given: Any, *names: str) -> list[Any]:
    """Log probabilities of inner layers."""
    import tf_keras

    found = [np.asarray(tf_keras.Model(model.input, model.get_layer(name).output)(given)) for name in names]
    return [answer - np.log(np.exp(answer).sum(axis=1, keepdims=True)) for answer in found]


@pytest.mark.heavy
@in_tensorflow
def test_a_committee_answers_with_the_weighted_mean_of_its_members_log_probabilities() -> None:
    encoder = fitted()
    model = built(encoder)
    model.fit(inputs(encoder), split(encoder)[1], batch_size=8, epochs=8, verbose=0)
    solved, one, two = outputs(model, inputs(encoder), "solved", "logits_1", "logits_2")
    assert np.abs(one - two).max() > 0.01, "members that agree would show nothing"
    np.testing.assert_allclose(np.asarray(model(inputs(encoder))), (2 * solved + one + two) / 4, atol=1e-5)


@pytest.mark.heavy
@in_tensorflow
@pytest.mark.parametrize("params", [{"svm_weight": 0}, {"members": 1}], ids=str)
def test_without_a_solved_member_all_are_trained(params: dict[str, Any]) -> None:
    encoder = fitted()
    model = built(encoder, **params)
    assert "solved" not in [layer.name for layer in model.layers]
    model.fit(inputs(encoder), split(encoder)[1], batch_size=8, epochs=2, verbose=0)
    if "svm_weight" in params:
        members = outputs(model, inputs(encoder), "direct_0", "logits_1", "logits_2")
        np.testing.assert_allclose(np.asarray(model(inputs(encoder))), np.mean(members, axis=0), atol=1e-5)


@pytest.mark.heavy
@in_tensorflow
def test_above_the_limit_of_work_the_model_is_the_trained_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WORK", len(ROWS) * 4 - 1)
    model = built(fitted())
    assert "solved" not in [layer.name for layer in model.layers]
    assert linear.refusal(Params(), fitted()) == "24 rows x 4 classes are above 95"


@pytest.mark.heavy
@in_tensorflow
def test_the_model_gives_the_solver_s_own_margins_and_training_leaves_them() -> None:
    encoder = fitted()
    model = built(encoder)
    grams, labels = split(encoder)
    found = linear.solve(encoder, *2 * [linear.Split(grams, None, labels)])
    model.fit(inputs(encoder), labels, batch_size=8, epochs=2, verbose=0)
    texts = [*TEXTS, "", "never seen before", "the the the stop a 1"]
    wanted = (
        linear.features(split(encoder, [(text, "a") for text in texts])[0], encoder) @ found.table.astype(np.float32)
        + found.bias
    )
    given = inputs(encoder, texts)
    wanted = wanted / found.temperature
    wanted -= np.log(np.exp(wanted).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(outputs(model, given, "solved")[0], wanted, atol=1e-4)


def test_the_solver_is_a_linear_svm_over_tf_idf_and_gives_the_same_twice() -> None:
    encoder = fitted()
    grams, labels = split(encoder)
    first = linear.solve(encoder, *2 * [linear.Split(grams, None, labels)])
    linear._solved.clear()
    again = linear.solve(encoder, *2 * [linear.Split(grams, None, labels)])
    assert first is not again
    assert first.table.tobytes() == again.table.tobytes()
    assert first.bias.tobytes() == again.bias.tobytes()
    assert (linear.features(grams, encoder) @ first.table.astype(np.float32) + first.bias).argmax(1).tolist() == (
        labels.tolist()
    )
    assert first.table.shape == (encoder.first_across, 4)
    assert encoder.first_across < len(encoder.idf()), "runs across a space are left out"


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "never"], ["a"]])
def test_few_classes_and_classes_without_rows_are_no_trouble(labels: list[str]) -> None:
    rows = [(text, label) for text, label in ROWS if label in labels]
    encoder = fitted([*rows, ("rare", "never")] if "never" in labels else rows)
    grams, ids = split(encoder, rows)
    found = linear.solve(encoder, *2 * [linear.Split(grams, None, ids)])
    margins = linear.features(grams, encoder) @ found.table.astype(np.float32) + found.bias
    assert margins.shape == (len(rows), len(labels))
    assert margins.argmax(1).tolist() == ids.tolist()


@pytest.mark.heavy
@in_tensorflow
@pytest.mark.parametrize("architecture", ["lstm", "gru"])
def test_a_recurrent_model_has_the_same_weights_and_answers_with_and_without_a_gpu(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    recipe, encoder = load_recipe("intents"), fitted()
    params = recipe.Params(architecture=architecture, dim=4, hidden=8, units=4, members=1)
    here = recipe.build_model(params, encoder)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: ["GPU:0"])
    there = recipe.build_model(params, encoder)
    assert [tuple(v.shape) for v in here.weights] == [tuple(v.shape) for v in there.weights]
    there.set_weights(here.get_weights())
    given = {name: dense(encoder.encode(TEXTS))[name] for name in ("grams", "words")}
    np.testing.assert_allclose(here(given), there(given), atol=1e-6)


def test_as_much_is_solved_for_with_vectors_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WORK", len(ROWS) * 4)
    encoder = fitted()
    encoder.sentences = Sentences("s3://b/e", EncoderIdentity("some", "0" * 64, 512))
    assert linear.refusal(Params(), encoder) is None


def test_where_there_is_much_to_solve_vectors_count_along_their_strongest_directions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = fitted()
    _, labels = split(encoder)
    noise = np.random.default_rng(0).normal(0, 0.01, (len(ROWS), 12)).astype(np.float32)
    of_labels = np.eye(4, 12, dtype=np.float32)[labels] + noise
    nothing = linear.Ragged(np.zeros(0, np.int64), np.zeros(len(ROWS) + 1, np.int64))
    train = linear.Split(nothing, of_labels, labels)
    whole = linear.solve(encoder, train, train)
    linear._solved.clear()
    monkeypatch.setattr(linear, "EXACT_WORK", 0)
    monkeypatch.setattr(linear, "DIRECTIONS", 4)
    few = linear.solve(encoder, train, train)
    assert whole.sentence_table is not None
    assert few.sentence_table is not None
    assert few.sentence_table.shape == whole.sentence_table.shape == (12, 4)
    assert np.linalg.matrix_rank(few.sentence_table, tol=1e-4) == 4
    assert np.linalg.matrix_rank(linear.directions(of_labels)) == 4
    np.testing.assert_allclose(linear.unit(of_labels) @ few.sentence_table + few.bias,
                               linear.unit(of_labels) @ whole.sentence_table + whole.bias, atol=0.05)  # fmt: skip


def test_half_is_the_mean_of_the_solutions_with_vectors_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = fitted()
    grams, labels = split(encoder)
    of_labels = np.eye(4, dtype=np.float32)[labels]
    train, held_out = linear.Split(grams, of_labels, labels), linear.Split(grams, of_labels[::-1].copy(), labels)
    given = {}
    for shares in ((1.0,), (0.5,), (0.0,)):
        linear._solved.clear()
        monkeypatch.setattr(linear, "SHARES", shares)
        given[shares] = linear.solve(encoder, train, held_out)
    whole, half, none = given.values()
    for solution in (whole, half, none):
        assert solution.sentence_table is not None
    np.testing.assert_array_equal(half.sentence_table, whole.sentence_table / 2)
    mean = (whole.table.astype(np.float32) + none.table) / 2
    np.testing.assert_allclose(half.table.astype(np.float32), mean, atol=1e-3)
    np.testing.assert_allclose(half.bias, (whole.bias + none.bias) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("whole", "half", "share"),
    [
        ([1.0, 1.2, 0.9], [0.5, 0.6, 0.5], 0.5),
        ([1.0, 1.2, 0.9], [1.1, 1.3, 1.0], 1.0),
        ([1.0, 0.1, 0.1, 0.1], [0.1, 0.3, 0.1, 0.2], 1.0),  # one row says so
        ([0.0, 0.0], [0.0, 0.0], 1.0),
        ([1.0], [0.1], 1.0),
        ([], [], 1.0),
    ],
)
def test_vectors_count_whole_unless_rows_agree_on_another_share(
    whole: list[float], half: list[float], share: float
) -> None:
    assert linear.best_share({1.0: np.array(whole), 0.5: np.array(half)}) == share


def test_a_row_s_loss_is_its_log_loss_where_there_are_enough_to_measure_a_temperature() -> None:
    margins = np.tile([[1.0, -1.0], [-1.0, 2.0]], (20, 1))
    labels = np.tile([0, 1], 20)
    known = np.arange(40) % 5 > 0
    losses = linear.row_losses(margins[known], labels[known])
    np.testing.assert_array_equal(linear.row_losses(margins, np.where(known, labels, 2)), losses)
    assert 0 < losses[0] < losses[1] < 0.1, "the wider margin is surer"
    np.testing.assert_array_equal(linear.row_losses(margins[:3], np.array([0, 0, -1])), [0, 1])
    assert len(linear.row_losses(margins, np.full(40, -1))) == 0


def test_vectors_are_used_where_the_eval_split_has_less_log_loss_with_them() -> None:
    encoder = fitted()
    grams, labels = split(encoder)
    of_labels = np.eye(4, dtype=np.float32)[labels]
    alone = linear.solve(encoder, *2 * [linear.Split(grams, None, labels)])
    assert alone.sentence_table is None
    helped = linear.solve(encoder, *2 * [linear.Split(grams, of_labels, labels)])
    assert helped.uses_sentences
    assert helped.told == ("The SVM answers 100.0 % of the eval split right with sentence vectors, 100.0 % without")
    misled = linear.solve(
        encoder, linear.Split(grams, 9 * of_labels, labels), linear.Split(grams, of_labels[:, [1, 2, 3, 0]], labels)
    )
    assert not misled.uses_sentences
    assert misled.told.endswith("without: they are left out")
    assert misled.table.tobytes() == alone.table.tobytes()
    assert misled.temperature == alone.temperature
    assert linear.gain(0.9, 0.91, is_used=True).endswith(
        "91.0 % without: they are kept, as log loss does not speak against them by more than chance"
    )


@in_tensorflow
def test_long_vectors_are_brought_to_length_1_in_mixed_precision_too() -> None:
    import tf_keras

    from shipway.recipes.intents.model import SentenceGate

    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        seen = np.asarray(SentenceGate()(np.full((1, 4), 300.0, np.float32)))
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
    np.testing.assert_allclose(seen, np.full((1, 4), 0.5), rtol=1e-6)


@in_tensorflow
@pytest.mark.parametrize("architecture", ["bag", "lstm"])
def test_a_model_is_built_and_trained_in_mixed_precision(architecture: str) -> None:
    import tf_keras

    encoder, recipe = fitted(), load_recipe("intents")
    chosen = Params(dim=4, hidden=8, architecture=architecture)  # type: ignore[arg-type]
    encoded = dense(encoder.encode(TEXTS))
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = recipe.build_model(chosen, encoder)
        recipe.compile_model(model, chosen)
        model.fit({name: encoded[name] for name in model.input}, split(encoder)[1], batch_size=8, epochs=1, verbose=0)
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
    assert np.isfinite(model.get_weights()[-1]).all()


def with_vectors(architecture: str, *, help_: bool) -> tuple[Any, IntentsEncoder, dict[str, Any]]:
    """A trained model, its encoder and its inputs: vectors that say the label, or that say another one on eval rows."""
    encoder, rng = fitted(), np.random.default_rng(0)
    (grams, labels), encoded = split(encoder), dense(encoder.encode(TEXTS))
    encoder.sentences = Sentences("s3://b/e", EncoderIdentity("small", "0" * 64, 4))
    recipe, chosen = load_recipe("intents"), Params(dim=4, hidden=8, architecture=architecture)  # type: ignore[arg-type]
    assert isinstance(recipe, SolvesWeights)
    told = {"train": np.eye(4, dtype=np.float32)[labels]}
    told["eval"] = told["train"] if help_ else np.eye(4, dtype=np.float32)[(labels + 1) % 4] * 1000
    model = recipe.build_model(chosen, encoder)
    recipe.compile_model(model, chosen)
    shown = {"train": grams, "eval": Ragged(grams.values[:0], np.zeros_like(grams.offsets)) if help_ else grams}
    recipe.solve_weights(
        model, chosen, encoder, lambda name: ({"grams": shown[name], "sentence": told[name]}, {"label": labels})
    )
    given = {
        **{name: encoded[name] for name in ("grams", "words")},
        "sentence": rng.normal(size=(24, 4)).astype(np.float32),
    }
    model.fit({name: given[name] for name in model.input}, labels, batch_size=8, epochs=2, verbose=0)
    return model, encoder, given


@pytest.mark.heavy
@in_tensorflow
@pytest.mark.parametrize("architecture", ["bag", "cnn"])
def test_behind_a_closed_gate_what_is_served_has_no_encoder_and_answers_alike(architecture: str) -> None:
    model, encoder, given = with_vectors(architecture, help_=False)
    recipe = load_recipe("intents")
    assert isinstance(recipe, FinishesModel)
    finished = recipe.finish_model(model, Params(dim=4, hidden=8, architecture=architecture), encoder)  # type: ignore[arg-type]
    assert isinstance(finished.encoder, IntentsEncoder)
    assert (finished.encoder.sentences, finished.facts) == (None, {})
    assert finished.headline[0].endswith(" % without: they are left out.")
    assert "sentence" not in finished.model.input
    kept, slim = (each({name: given[name] for name in each.input}) for each in (model, finished.model))
    np.testing.assert_allclose(slim, kept["logits"], atol=1e-5)


@pytest.mark.heavy
@in_tensorflow
def test_where_vectors_help_the_model_stays_and_says_what_they_brought() -> None:
    model, encoder, given = with_vectors("bag", help_=True)
    recipe = load_recipe("intents")
    assert isinstance(recipe, FinishesModel)
    finished = recipe.finish_model(model, Params(dim=4, hidden=8), encoder)
    assert (finished.model, finished.encoder) == (model, encoder)
    told = "The SVM answers 100.0 % of the eval split right with sentence vectors, 25.0 % without."
    assert (finished.facts, finished.headline) == (
        {"sentence encoder": "small: 4 numbers, digest 000000000000"},
        [told],
    )
    vectors = given["sentence"], -given["sentence"]
    answers = [np.asarray(model({**given, "sentence": each})["logits"]) for each in vectors]
    assert np.abs(answers[0] - answers[1]).max() > 0.01, "they are seen"
