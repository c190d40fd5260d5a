"""How the intents model's members make one answer."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from shipway.recipes import load_recipe
from shipway.recipes.base import dense

ROWS = [(f"{verb} the {thing} {number}", thing) for verb in ("turn on", "stop") for thing in "abcd" for number in "123"]


@pytest.mark.heavy
def test_a_committee_answers_with_the_mean_of_its_members_log_probabilities() -> None:
    import tf_keras

    recipe = load_recipe("intents")
    encoder = recipe.fit_encoder(
        [pl.DataFrame(ROWS, schema=["text", "label"], orient="row")], recipe.EncoderParams(buckets=4096)
    )
    params = recipe.Params(dim=4, hidden=8)
    model = recipe.build_model(params, encoder)
    recipe.compile_model(model, params)
    inputs = {"grams": dense(encoder.encode([text for text, _ in ROWS]))["grams"]}
    labels = np.array([encoder.labels.index(label) for _, label in ROWS])
    model.fit(inputs, labels, batch_size=8, epochs=8, verbose=0)
    members = tf_keras.Model(model.input, model.get_layer("logits").input)(inputs)
    logs = [np.asarray(answer) - np.log(np.exp(answer).sum(axis=1, keepdims=True)) for answer in members]
    assert len(logs) == 3
    assert np.abs(logs[0] - logs[1]).max() > 0.01, "members that agree would show nothing"
    np.testing.assert_allclose(np.asarray(model(inputs)), np.mean(logs, axis=0), atol=1e-5)
