"""SavedModels that do more than compute, as TensorFlow itself writes them; and what the recipes export."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from shipway.errors import CorruptArtifact
from shipway.language import EncoderIdentity
from shipway.recipes import load_recipe
from shipway.recipes.intents.sentences import Sentences
from shipway.scoring.onnx_models import check_onnx
from shipway.scoring.runtimes import open_saved_model
from shipway.scoring.saved_models import _check_tensor, _Seen, check_saved_model
from shipway.scoring.wire import Malformed
from shipway.tasks import task_of
from tests.fixtures import own_recipe, toy

# TensorFlow is imported within the tests: of pytest's workers only the one that runs this group pays for it.
pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

# What tests/fixtures/saved_models.py makes, and what is said of it.
REFUSED = {
    "an initialiser that writes": "MutableHashTableV2",
    "a write in the signature": "WriteFile",
    "a write in a loop": "WriteFile",
    "a read": "ReadFile",
    "Python": "EagerPyFunc",
    "numpy": "PyFunc",
    "printing": "StringFormat",
    "a table from a file": "asset",
    "the saver's function in the signature": "only the saver's nodes may",
    "a writer as the signature": "an object calls it",
    "a writer with an operation's name": "has the name of an operation",
    "a writer that implements what is called": "api_implements",
    "a constant of millions of strings": "more than they hold",
    "one constant many times": "and so is another",
    "an unknown operation": "NobodyKnowsThis",
    "a write in the main graph": "the main graph",
    "a constant of terabytes": "more than they hold",
    "as TensorFlow 1 wrote it": "object graph",
    "a function that reads the variables": "of its own",
    "a registered class": "registered class",
    "a registered constant that is none": "registered class",
    "a resource": "a resource",
    "an asset": "asset",
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_a_saved_model_that_could_do_more_than_compute_is_refused_and_runs_nothing(what: str, tmp_path: Path) -> None:
    from tests.fixtures import saved_models

    written = tmp_path / "written"
    folder = saved_models.MAKE[what](tmp_path / "model", str(written))
    with pytest.raises(CorruptArtifact) as caught:
        open_saved_model(folder)
    assert not [*tmp_path.glob("written*")]
    assert REFUSED[what] in str(caught.value)
    assert "saved_model.pb" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensorflow_itself_runs_an_initialiser_as_it_opens_a_model(tmp_path: Path) -> None:
    import tensorflow as tf

    from tests.fixtures import saved_models

    written = tmp_path / "written"
    folder = saved_models.initialiser(tmp_path / "model", str(written))
    assert not written.exists()
    tf.saved_model.load(str(folder))
    assert written.exists()  # what all of this is for


@pytest.mark.parametrize("what", [what for what in REFUSED if what.startswith("a writer")])
def test_tensorflow_itself_writes_a_file_when_such_a_signature_is_called(what: str, tmp_path: Path) -> None:
    import tensorflow as tf

    from tests.fixtures import saved_models

    folder = saved_models.MAKE[what](tmp_path / "model", str(tmp_path / "written"))
    loaded = tf.saved_model.load(str(folder))
    loaded.signatures["serving_default"](x=tf.ones([1, 4]))
    assert [*tmp_path.glob("written*")]


def _split_shape(data: bytes) -> bytes:
    """A constant's shape in two fields of its own, which a parser puts together."""
    whole, half = b"\x12\x0c\x12\x04\x08\x80\x80\x40\x12\x04\x08\x80\x80\x40", b"\x12\x06\x12\x04\x08\x80\x80\x40"
    assert data.count(whole) == 1
    assert len(half) * 2 == len(whole) + 2
    return data.replace(whole, half + half)


def test_a_shape_in_two_parts_is_not_read_as_the_last_of_them() -> None:
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    tensor = TensorProto(dtype=1, float_val=[0.0])
    for _ in range(2):
        tensor.tensor_shape.dim.add(size=1 << 20)
    split = _split_shape(tensor.SerializeToString())
    assert TensorProto.FromString(split).tensor_shape == tensor.tensor_shape
    with pytest.raises(Malformed, match="several shapes"):
        _check_tensor(memoryview(split), _Seen(frozenset()))


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt", "assets/words.txt", "assets.extra/a"])
def test_a_file_that_tensorflow_would_read_instead_is_refused(name: str, tmp_path: Path) -> None:
    from tests.fixtures.saved_models import save

    folder = save(tmp_path / "model", lambda x: x)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(folder / "saved_model.pb", path)
    with pytest.raises(CorruptArtifact, match=name.split("/")[0].replace(".", r"\.")):
        open_saved_model(folder)


def test_a_constant_that_a_function_holds_is_allowed(tmp_path: Path) -> None:
    import tensorflow as tf

    from tests.fixtures.saved_models import save

    scale = tf.constant([1.0, 2.0, 3.0, 4.0])
    folder = save(tmp_path / "model", lambda x: x * scale)
    assert open_saved_model(folder).signatures["serving_default"] is not None


def test_a_person_may_allow_an_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from tests.fixtures.saved_models import save

    folder = save(tmp_path / "model", lambda x: tf.linalg.inv(tf.matmul(x, x, transpose_a=True)))
    with pytest.raises(CorruptArtifact, match="SHIPWAY_OPERATIONS=MatrixInverse"):
        check_saved_model(folder)
    monkeypatch.setenv("SHIPWAY_OPERATIONS", "MatrixInverse")
    assert open_saved_model(folder).signatures["serving_default"] is not None


def exported(folder: Path, recipe: Any, params: Any, encoder: Any) -> Path:
    """As a training publishes it, without a training: weights change no operation."""
    import tf2onnx

    from shipway.training import export
    from shipway.training.measure import input_names

    model = recipe.build_model(params, encoder)
    features = {name: encoder.features[name] for name in input_names(model)}
    serving = export.serving_of(model, task_of(recipe), features, {"temperature": 1.3, "usual_similarity": 0.5})
    export.save(serving, folder / "saved_model")
    serve, path = serving.module.serve, str(folder / "model.onnx")
    tf2onnx.convert.from_function(serve, input_signature=serve.input_signature, opset=export.OPSET, output_path=path)
    return folder


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "on a GPU": {},
    "trained alone": {"svm_weight": 0.0},
    "one": {"members": 1},
    "with sentence vectors": {},
}
# LSTM, CNN and word vectors: test_train_loop.py publishes one of each, by the same two checks.
EXPORTS = [
    *(("bag", variant) for variant in ("as it is", "trained alone", "one", "with sentence vectors")),
    *(("gru", variant) for variant in ("as it is", "on a GPU")),
    ("lstm", "on a GPU"),
]


@pytest.mark.parametrize(("architecture", "variant"), EXPORTS)
def test_what_the_intents_recipe_exports_is_allowed(
    architecture: str, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    if variant == "on a GPU":  # the layers that are chosen there
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: ["GPU:0"])
    recipe = load_recipe("intents")
    encoder: Any = recipe.fit_encoder([toy.rows(60)], recipe.EncoderParams(buckets=1024))
    if variant == "with sentence vectors":
        encoder.sentences = Sentences("s3://b/e", EncoderIdentity("tiny", "0" * 64, 8))
    params = recipe.Params(architecture=architecture, dim=8, **VARIANTS[variant])
    folder = exported(tmp_path, recipe, params, encoder)
    check_saved_model(folder / "saved_model")
    check_onnx(folder / "model.onnx")


def test_what_a_users_own_recipe_exports_is_allowed(tmp_path: Path) -> None:
    recipe = own_recipe.recipe
    encoder = recipe.fit_encoder([toy.rows(60)], own_recipe.EncoderParams())
    folder = exported(tmp_path, recipe, own_recipe.Params(), encoder)
    check_saved_model(folder / "saved_model")
    check_onnx(folder / "model.onnx")


def test_what_the_image_recipes_export_is_allowed(tmp_path: Path) -> None:
    """Of their networks Inception v1 holds all that the others do."""
    recipe = load_recipe("image_tags")
    encoder = recipe.load_encoder({"format": 1, "params": {"size": 32}, "labels": ["Balcony", "Pool"]})
    folder = exported(tmp_path, recipe, recipe.Params(network="inception_v1"), encoder)
    check_saved_model(folder / "saved_model")
    check_onnx(folder / "model.onnx")
