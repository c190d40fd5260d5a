from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shipway.artifacts import ModelManifest
from shipway.errors import CorruptArtifact, InvalidSpec
from shipway.recipes.arrays import concatenate
from shipway.scoring import ModelSession
from tests.fixtures import toy


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelManifest, Path]:
    root = tmp_path_factory.mktemp("toy")
    train = toy.rows(300)
    dataset = toy.write_dataset(root / "dataset", {"train": train, "eval": toy.rows(60, 1), "test": toy.rows(60, 2)})
    return toy.write_model(root / "model", dataset, train), root / "model"


def probabilities_of(session: ModelSession, texts: list[str], batch_size: int = 256) -> NDArray[np.float32]:
    found = session.predict(texts, batch_size=batch_size)["probabilities"]
    assert isinstance(found, np.ndarray)
    return found


def test_texts_become_probabilities_in_the_order_given(model: tuple[ModelManifest, Path]) -> None:
    manifest, folder = model
    session = ModelSession.open(manifest, folder, threads=1)
    texts = ["w2_1 w2_2 w2_3 shared1 shared2", "w0_1", "", "words it never saw", "w3_1 w3_4"]
    probabilities = session.predict(texts, batch_size=2)["probabilities"]
    assert isinstance(probabilities, np.ndarray)
    assert probabilities.shape == (5, 4)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [session.labels[i] for i in probabilities.argmax(axis=1)[[0, 1, 4]]] == ["intent_2", "intent_0", "intent_3"]
    alone = concatenate([session.predict([text]) for text in texts])["probabilities"]
    np.testing.assert_allclose(probabilities, alone, atol=1e-6)


def test_no_texts_give_no_rows(model: tuple[ModelManifest, Path]) -> None:
    assert ModelSession.open(*model).predict([])["probabilities"].shape == (0, 4)


def test_a_changed_file_is_refused_by_name(model: tuple[ModelManifest, Path], tmp_path: Path) -> None:
    manifest, folder = model
    for name in ("encoder.json", "model.onnx"):
        copy = tmp_path / name.replace(".", "-")
        copy.mkdir()
        for file in manifest.files:
            data = (folder / file.path).read_bytes()
            (copy / file.path).write_bytes(data[:-1] + b"\0" if file.path == name else data)
        with pytest.raises(CorruptArtifact, match=rf"{name} was changed"):
            ModelSession.open(manifest, copy)


def test_a_missing_file_is_refused_by_name(model: tuple[ModelManifest, Path], tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match=r"encoder\.json is missing"):
        ModelSession.open(model[0], tmp_path)


def test_labels_that_differ_between_encoder_and_manifest_are_refused(model: tuple[ModelManifest, Path]) -> None:
    manifest, folder = model
    with pytest.raises(CorruptArtifact, match="labels"):
        ModelSession.open(manifest.model_copy(update={"labels": ["a", "b", "c", "d"]}), folder)


def test_a_recipe_that_is_not_here_is_the_users_to_mend(model: tuple[ModelManifest, Path]) -> None:
    manifest, folder = model
    with pytest.raises(InvalidSpec, match=r"nobody\.has:this"):
        ModelSession.open(manifest.model_copy(update={"recipe": "nobody.has:this"}), folder)
