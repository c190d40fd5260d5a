"""The entities model: the CRF against all paths one by one, and answers that no neighbour in a batch changes."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.errors import InvalidSpec
from shipway.recipes import Ragged, dense, load_recipe
from shipway.specs import parse
from shipway.tasks.spans.tags import tag_count
from tests.fixtures import named

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

RECIPE = load_recipe("entities")
TAGS = tag_count("ab")
LENGTHS = (3, 1, 2)


@pytest.fixture(scope="module")
def scored() -> tuple[Any, Any, Any]:
    """A CRF of random weights, scores of three texts, and which places are tokens."""
    from shipway.recipes.entities.layers import Crf

    random = np.random.default_rng(0)
    scores = random.normal(0, 2, (3, 3, TAGS)).astype(np.float32)
    is_token = np.arange(3) < np.array(LENGTHS)[:, None]
    layer = Crf(TAGS)
    layer(scores, is_token)
    layer.steps.assign(random.normal(0, 2, (TAGS + 1, TAGS + 1)))
    return layer, scores, is_token


def paths(layer: Any, scores: Any) -> dict[tuple[int, ...], float]:
    """Each path of one text that BIO allows -> its score, added up tag by tag."""
    steps = layer.steps.numpy()
    found = {}
    for path in itertools.product(range(TAGS), repeat=len(scores)):
        befores = (0, *path)
        if any(
            tag and tag % 2 == 0 and before not in (tag - 1, tag) for before, tag in zip(befores, path, strict=False)
        ):
            continue
        ends = [TAGS, *path, TAGS]
        total = sum(steps[a, b] for a, b in itertools.pairwise(ends))
        found[path] = float(total + sum(score[tag] for score, tag in zip(scores, path, strict=True)))
    return found


def test_the_best_path_and_the_share_of_each_tag_are_those_of_all_paths(scored: Any) -> None:
    layer, scores, is_token = scored
    answer = layer(scores, is_token, training=False)
    shares = np.exp(answer["logits"] - np.log(np.exp(answer["logits"]).sum(-1, keepdims=True)))
    for row, length in enumerate(LENGTHS):
        every = paths(layer, scores[row, :length])
        assert tuple(answer["tags"][row, :length].numpy()) == max(every, key=lambda path: every[path])
        weights = {path: np.exp(total) for path, total in every.items()}
        for place in range(length):
            for tag in range(TAGS):
                share = sum(weight for path, weight in weights.items() if path[place] == tag) / sum(weights.values())
                assert shares[row, place, tag] == pytest.approx(share, abs=1e-5)


def test_the_loss_is_minus_the_logarithm_of_the_true_paths_share(scored: Any) -> None:
    import tensorflow as tf

    from shipway.recipes.entities.layers import CrfLoss

    layer, scores, _ = scored
    truth = np.array([[1, 2, 0], [3, -1, -1], [0, 1, -1]])
    with tf.GradientTape() as tape:
        losses = CrfLoss(layer).call(truth, scores)
    assert np.isfinite(tape.gradient(losses, layer.steps)).all()
    for row, length in enumerate(LENGTHS):
        every = paths(layer, scores[row, :length])
        share = every[tuple(truth[row, :length])] - np.log(sum(map(np.exp, every.values())))
        assert float(losses[row]) == pytest.approx(-share, abs=1e-4)
    assert (
        float(CrfLoss(layer).call(np.full((1, 2), -1), scores[:1, :2])[0]) == 0
    )  # a text without words teaches nothing


@pytest.fixture(scope="module")
def encoder() -> Any:
    return RECIPE.fit_encoder([named.rows(60)], RECIPE.EncoderParams())


def build(encoder: Any, **params: Any) -> Any:
    found = RECIPE.build_model(RECIPE.Params(units=8, word_dim=8, char_filters=8, **params), encoder)
    random = np.random.default_rng(1)
    found.set_weights([random.normal(0, 0.5, weight.shape) for weight in found.get_weights()])
    return found


@pytest.mark.parametrize("architecture", ["lstm", "cnn"])
@pytest.mark.parametrize("crf", [True, False])
def test_an_answer_depends_on_no_other_text_and_is_exported_within_what_predictors_open(
    encoder: Any, architecture: str, crf: bool, tmp_path: Path
) -> None:
    import onnxruntime
    import tf2onnx

    from shipway.scoring.onnx_models import check_onnx
    from shipway.scoring.runtimes import open_saved_model
    from shipway.tasks import task_of
    from shipway.training.export import OPSET, save, serving_of

    model = build(encoder, architecture=architecture, crf=crf)
    texts = ["turn on the light", "", "play techno in the kitchen for twenty minutes, please"]
    serving = serving_of(model, task_of(RECIPE), encoder.features, {"temperature": 1.3})
    save(serving, tmp_path / "saved_model")
    open_saved_model(tmp_path / "saved_model")
    serve, path = serving.module.serve, tmp_path / "model.onnx"
    tf2onnx.convert.from_function(serve, input_signature=serve.input_signature, opset=OPSET, output_path=str(path))
    check_onnx(path)
    session = onnxruntime.InferenceSession(path)

    def answer(texts: list[str]) -> dict[str, Any]:
        rows = dense(encoder.encode(texts))
        names = [each.name.removesuffix(":0") for each in session.get_outputs()]
        given = session.run(None, {each.name: rows[each.name.removesuffix(":0")] for each in session.get_inputs()})
        ours = serve(*(rows[each.name] for each in serve.input_signature))
        for name, value in zip(names, given, strict=True):
            np.testing.assert_allclose(value, ours[name], atol=1e-4)
        return dict(zip(names, given, strict=True))

    together = answer(texts)
    assert set(together) == {"tags", "scores"}
    words = encoder.encode(texts)["words"]
    assert isinstance(words, Ragged)
    for row, text in enumerate(texts):
        alone, length = answer([text]), len(words.row(row))
        np.testing.assert_array_equal(together["tags"][row, :length], alone["tags"][0, :length])
        np.testing.assert_allclose(together["scores"][row, :length], alone["scores"][0, :length], atol=1e-5)


@pytest.mark.parametrize("architecture", ["lstm", "cnn"])
def test_half_precision_ends_where_the_field_begins(encoder: Any, architecture: str) -> None:
    import tf_keras

    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        answer = build(encoder, architecture=architecture)(dense(encoder.encode(["turn on the light"])), training=True)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    assert (answer["logits"].dtype.name, answer["logits"].shape[1]) == ("float32", 4)


def test_unknown_parameters_are_named() -> None:
    with pytest.raises(InvalidSpec, match=r"params\.architecture: .*lstm, cnn"):
        parse(RECIPE.Params, {"architecture": "gru"}, "params")
