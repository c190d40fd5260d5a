"""How alike a text is to training rows: which rows are kept, and what the model says of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shipway.language import EncoderIdentity
from shipway.recipes import load_recipe
from shipway.recipes.arrays import dense
from shipway.recipes.base import SolvesWeights
from shipway.recipes.intents import linear
from shipway.recipes.intents.encode import IntentsEncoder
from shipway.recipes.intents.sentences import Sentences
from shipway.tasks import load_task
from shipway.tasks.classification import sureness
from tests.unit.recipes.test_intents_model import ROWS, TEXTS, fitted, split

pytestmark = pytest.mark.xdist_group("tensorflow")

WIDTH = 8
HEAD: Any = load_task("classification").head


def with_vectors() -> IntentsEncoder:
    encoder = fitted()
    encoder.sentences = Sentences("s3://b/e", EncoderIdentity("tiny", "0" * 64, WIDTH))
    return encoder


def vectors(turned: int = 0) -> NDArray[np.float32]:
    """Near one axis for each label; another one with `turned`."""
    _, labels = split(fitted())
    noise = np.random.default_rng(3).normal(0, 0.05, (len(ROWS), WIDTH))
    return (3 * np.eye(WIDTH)[(labels + turned) % 4] + noise).astype(np.float32)


def solved(encoder: IntentsEncoder, misleading: int = 0, **params: Any) -> Any:
    """A compiled model, what it solves for solved; with `misleading` vectors the eval split is answered worse."""
    recipe = load_recipe("intents")
    assert isinstance(recipe, SolvesWeights)
    chosen = recipe.Params(dim=4, hidden=8, **params)
    model = recipe.build_model(chosen, encoder)
    recipe.compile_model(model, chosen)
    grams, labels = split(fitted())
    of = {"train": 9 * vectors(), "eval": vectors(misleading)}
    recipe.solve_weights(
        model, chosen, encoder, lambda name: ({"grams": grams, "sentence": of[name]}, {"label": labels})
    )
    return model


def inputs(sentence: NDArray[np.float32]) -> dict[str, Any]:
    return {"grams": dense(fitted().encode(TEXTS))["grams"], "sentence": sentence}


@given(st.lists(st.integers(0, 5), max_size=200), st.integers(1, 60))
def test_no_more_rows_are_kept_than_may_be_and_small_classes_keep_all_of_theirs(labels: list[int], most: int) -> None:
    from shipway.recipes.intents.layers import choose

    ids = np.array(labels, dtype=np.int64)
    rows = choose(ids, most)
    assert len(rows) == min(most, len(ids))
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, choose(ids, most))
    kept, there = np.bincount(ids[rows], minlength=6), np.bincount(ids, minlength=6)
    assert (kept[kept < there] >= kept.max(initial=0) - 1).all(), "none is cut while another keeps more"


@pytest.mark.heavy
def test_similarity_is_the_mean_cosine_to_the_five_nearest_rows_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from shipway.recipes.intents import layers

    monkeypatch.setattr(layers, "MAX_ROWS", 18)
    encoder = with_vectors()
    model = solved(encoder)
    _, labels = split(fitted())
    asked = np.random.default_rng(4).normal(size=(len(TEXTS), WIDTH)).astype(np.float32)
    kept = linear.unit(vectors())[layers.choose(labels, 18)]
    wanted = np.sort(linear.unit(asked) @ kept.T, axis=1)[:, -5:].mean(axis=1)
    given = inputs(asked)
    before = np.asarray(model(given)["similarity"])
    np.testing.assert_allclose(before, wanted, atol=1e-3)
    model.fit(given, labels, batch_size=8, epochs=2, verbose=0)
    np.testing.assert_array_equal(np.asarray(model(given)["similarity"]), before, "it is never trained")
    assert np.asarray(model(given, training=True)["similarity"]).tolist() == [1.0] * len(TEXTS), "nobody waits for it"
    ours, theirs = (each.get_layer("similarity").get_weights() for each in (model, solved(encoder)))
    assert [value.tobytes() for value in ours] == [value.tobytes() for value in theirs]


@pytest.mark.heavy
def test_vectors_that_do_not_help_say_nothing_of_similarity_either() -> None:
    encoder = with_vectors()
    model = solved(encoder, misleading=1)
    outputs = {name: np.asarray(value) for name, value in model(inputs(vectors())).items()}
    assert outputs["similarity"].tolist() == [1.0] * len(TEXTS)
    constants = HEAD.calibrate(
        {name: np.tile(value.T, 2).T for name, value in outputs.items()}, {"label": np.zeros(48, int)}
    )
    served = {name: np.asarray(value) for name, value in HEAD.serve(outputs, constants).items()}
    np.testing.assert_array_equal(served["sureness"], served["probabilities"].max(axis=1))


@pytest.mark.heavy
@pytest.mark.parametrize("params", [{"members": 1}, {"svm_weight": 0}], ids=str)
def test_without_an_encoder_or_a_solved_member_the_model_gives_logits_alone(params: dict[str, Any]) -> None:
    recipe = load_recipe("intents")
    for encoder, chosen in ((fitted(), {}), (with_vectors(), params)):
        model = recipe.build_model(recipe.Params(dim=4, hidden=8, **chosen), encoder)
        assert model.output.shape.as_list() == [None, 4]
        assert "similarity" not in [layer.name for layer in model.layers]


@pytest.mark.heavy
def test_saved_model_and_onnx_give_the_sureness_that_numpy_gives(tmp_path: Path) -> None:
    import tensorflow as tf

    from shipway.scoring.runtimes import open_saved_model
    from shipway.training import export
    from shipway.training.publishing import run_onnx

    encoder = with_vectors()
    model = solved(encoder)
    given = inputs(np.random.default_rng(5).normal(size=(len(TEXTS), WIDTH)).astype(np.float32))
    constants = {"temperature": 1.5, "usual_similarity": 0.4}
    features = {name: encoder.features[name] for name in given}
    serving = export.serving_of(model, load_task("classification"), features, constants)
    assert list(serving.outputs) == ["probabilities", "sureness"]
    export.save(serving, tmp_path / "saved_model")
    (tmp_path / "model.onnx").write_bytes(export._converted(serving.module.serve))
    opened = open_saved_model(tmp_path / "saved_model")
    first = opened.signatures["serving_default"](**{name: tf.constant(value) for name, value in given.items()})
    second = run_onnx(tmp_path / "model.onnx", list(serving.outputs))(given)
    outputs = {name: np.asarray(value) for name, value in model(given).items()}
    assert (outputs["similarity"] < 0.4).any()
    assert (outputs["similarity"] > 0.4).any()
    wanted = np.exp(sureness.PENALTY * np.minimum(outputs["similarity"] - 0.4, 0)) * second["probabilities"].max(axis=1)
    for served in (first, second):
        np.testing.assert_allclose(np.asarray(served["sureness"]), wanted, atol=1e-6)
        assert served["sureness"].shape == (len(TEXTS),)
