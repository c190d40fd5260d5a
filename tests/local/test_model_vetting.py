"""SavedModels that do more than compute, as TensorFlow itself writes them; and what the recipes export."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from shipway.errors import CorruptArtifact
from shipway.recipes import load_recipe
from shipway.scoring.onnx_models import check_onnx
from shipway.scoring.runtimes import open_saved_model
from shipway.scoring.saved_models import _check_tensor, _Seen, check_saved_model
from shipway.scoring.wire import Malformed
from tests.fixtures import own_recipe, toy

pytestmark = pytest.mark.heavy
SPEC = [tf.TensorSpec([None, 4], tf.float32, name="x")]


def save(folder: Path, compute: Callable[[Any], Any], **parts: Any) -> Path:
    module = tf.Module()
    for name, part in parts.items():
        setattr(module, name, part)
    module.serve = tf.function(lambda x: {"y": compute(x)}, input_signature=SPEC)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def edited(folder: Path, edit: Callable[[Any], None]) -> Path:
    """A harmless model whose protocol buffer was edited."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    save(folder, lambda x: x * 2.0, weight=tf.Variable(1.0))
    path = folder / "saved_model.pb"
    proto = SavedModel.FromString(path.read_bytes())
    edit(proto.meta_graphs[0])
    path.write_bytes(proto.SerializeToString())
    return folder


class Initialised(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
    """Runs when it is opened."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__()
        self.act = act

    def _create_resource(self) -> Any:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self) -> None:
        self.act()


def _initialiser(folder: Path, written: str) -> Path:
    resource = Initialised(lambda: tf.io.write_file(written, "ran"))
    Path(written).unlink(missing_ok=True)  # saving ran it, too
    made = save(folder, lambda x: x, resource=resource)
    Path(written).unlink(missing_ok=True)
    return made


def _written(x: Any, path: str) -> Any:
    with tf.control_dependencies([tf.io.write_file(path, "ran")]):
        return tf.identity(x)


def _in_a_loop(x: Any, path: str) -> Any:
    return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, _written(y, path)), [0, x])[1]


def _lookup(folder: Path, written: str) -> Path:
    words = folder.parent / "words.txt"
    words.write_text("a\nb\n")
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        ),
        1,
    )
    return save(folder, lambda x: x + tf.cast(table.lookup(tf.constant(["a"])), tf.float32), table=table)


def _saver(meta: Any) -> None:
    """The signature calls the function that writes checkpoints."""
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    writes = next(name for name in functions if "traced_save" in name)
    serve = next(function for name, function in functions.items() if "signature_wrapper" in name)
    call = next(node for node in serve.node_def if node.op.endswith("PartitionedCall"))
    call.attr["f"].func.name = writes


def _writer(name: str, path: str) -> Any:
    """A function that writes a checkpoint, under a name of somebody's choice."""

    @tf.function(input_signature=SPEC)
    def write(x: Any) -> Any:
        saved = tf.raw_ops.SaveV2(prefix=path, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant([1.0])])
        with tf.control_dependencies([saved]):
            return tf.identity(x) * 1.0

    definition = write.get_concrete_function().function_def
    made = type(definition)()
    made.CopyFrom(definition)
    made.signature.name = name
    return made


def _multiplies(meta: Any) -> Any:
    functions = meta.graph_def.library.function
    return next(
        each for each in functions if each.signature.name != "Relu" and any(n.op == "Mul" for n in each.node_def)
    )


def _as_the_signature(meta: Any, path: str) -> None:
    """The signature's object is the writer itself: no node calls it."""
    meta.graph_def.library.function.append(_writer("writer", path))
    known = meta.object_graph_def.concrete_functions
    known["writer"].CopyFrom(next(known[name] for name in list(known) if "signature_wrapper" in name))
    known["writer"].ClearField("bound_inputs")
    for node in meta.object_graph_def.nodes:
        if node.HasField("bare_concrete_function"):
            node.bare_concrete_function.concrete_function_name = "writer"


def _as_an_operation(meta: Any, path: str) -> None:
    """A runtime looks for `Relu` among the functions first."""
    writer = _writer("Relu", path)
    function = _multiplies(meta)
    meta.graph_def.library.function.append(writer)
    node = next(node for node in function.node_def if node.op == "Mul")
    node.op = "Relu"
    del node.input[1:]
    node.attr.clear()
    given = f"{node.name}:{writer.signature.output_arg[0].name}:0"
    for other in function.node_def:
        other.input[:] = [given if each == f"{node.name}:z:0" else each for each in other.input]
    for key, each in list(function.ret.items()):
        function.ret[key] = given if each == f"{node.name}:z:0" else each


def _as_an_implementation(meta: Any, path: str) -> None:
    """The graph optimiser takes, of functions that implement the same, the one for this device."""
    writer = _writer("__inference_writer_7", path)
    function = _multiplies(meta)
    for each, device in ((writer, b"CPU"), (function, b"GPU")):
        each.attr["api_implements"].s = b"lstm"
        each.attr["api_preferred_device"].s = device
    meta.graph_def.library.function.append(writer)


def _strings(meta: Any) -> None:
    node = meta.graph_def.node.add(name="n", op="Const")
    tensor = node.attr["value"].tensor
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=1 << 25)
    tensor.string_val.append(b"x" * 40)
    meta.object_graph_def.nodes.add().constant.operation = "n"


def _constants(meta: Any) -> None:
    node = meta.graph_def.node.add(name="n", op="Const")
    node.attr["value"].tensor.dtype = 1
    node.attr["value"].tensor.float_val.append(0.0)
    for _ in range(2):
        meta.object_graph_def.nodes.add().constant.operation = "n"


def _unknown(meta: Any) -> None:
    meta.graph_def.library.function[0].node_def.add(name="n", op="NobodyKnowsThis")


def _main_graph(meta: Any) -> None:
    meta.graph_def.node.add(name="n", op="WriteFile")


def _constant(meta: Any) -> None:
    node = meta.graph_def.node.add(name="n", op="Const")
    tensor = node.attr["value"].tensor
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=1 << 40)
    tensor.float_val.append(0.0)


def _as_tensorflow_1(meta: Any) -> None:
    meta.ClearField("object_graph_def")


def _restoring(meta: Any) -> None:
    meta.object_graph_def.nodes[0].saveable_objects["a"].save_function = 1
    meta.object_graph_def.nodes[0].saveable_objects["a"].restore_function = 1


def _registered(meta: Any) -> None:
    meta.object_graph_def.nodes[0].registered_name = "tf.Something"


def _resource(meta: Any) -> None:
    meta.object_graph_def.nodes[1].resource.device = ""


def _asset(meta: Any) -> None:
    meta.asset_file_def.add(filename="../../../etc/passwd")


def _written_by(edit: Callable[[Any, str], None]) -> Callable[[Path, str], Path]:
    return lambda folder, path: edited(folder, lambda meta: edit(meta, path))


REFUSED: dict[str, tuple[Callable[[Path, str], Path], str]] = {
    "an initialiser that writes": (_initialiser, "MutableHashTableV2"),
    "a write in the signature": (lambda folder, path: save(folder, lambda x: _written(x, path)), "WriteFile"),
    "a write in a loop": (lambda folder, path: save(folder, lambda x: _in_a_loop(x, path)), "WriteFile"),
    "a read": (
        lambda folder, _: save(
            folder, lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)
        ),
        "ReadFile",
    ),
    "Python": (lambda folder, _: save(folder, lambda x: tf.py_function(lambda y: y, [x], tf.float32)), "EagerPyFunc"),
    "numpy": (lambda folder, _: save(folder, lambda x: tf.numpy_function(lambda y: y, [x], tf.float32)), "PyFunc"),
    "printing": (
        lambda folder, path: save(folder, lambda x: _printed(x, path)),
        "StringFormat",
    ),
    "a table from a file": (_lookup, "asset"),
    "the saver's function in the signature": (lambda folder, _: edited(folder, _saver), "only the saver's nodes may"),
    "a writer as the signature": (_written_by(_as_the_signature), "an object calls it"),
    "a writer with an operation's name": (_written_by(_as_an_operation), "has the name of an operation"),
    "a writer that implements what is called": (_written_by(_as_an_implementation), "api_implements"),
    "a constant of millions of strings": (lambda folder, _: edited(folder, _strings), "more than they hold"),
    "one constant many times": (lambda folder, _: edited(folder, _constants), "and so is another"),
    "an unknown operation": (lambda folder, _: edited(folder, _unknown), "NobodyKnowsThis"),
    "a write in the main graph": (lambda folder, _: edited(folder, _main_graph), "the main graph"),
    "a constant of terabytes": (lambda folder, _: edited(folder, _constant), "more than they hold"),
    "as TensorFlow 1 wrote it": (lambda folder, _: edited(folder, _as_tensorflow_1), "object graph"),
    "a function that reads the variables": (lambda folder, _: edited(folder, _restoring), "of its own"),
    "a registered class": (lambda folder, _: edited(folder, _registered), "registered class"),
    "a resource": (lambda folder, _: edited(folder, _resource), "a resource"),
    "an asset": (lambda folder, _: edited(folder, _asset), "asset"),
}


def _printed(x: Any, path: str) -> Any:
    with tf.control_dependencies([tf.print("ran", output_stream=f"file://{path}")]):
        return tf.identity(x)


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_a_saved_model_that_could_do_more_than_compute_is_refused_and_runs_nothing(what: str, tmp_path: Path) -> None:
    make, reason = REFUSED[what]
    written = tmp_path / "written"
    folder = make(tmp_path / "model", str(written))
    with pytest.raises(CorruptArtifact) as caught:
        open_saved_model(folder)
    assert not [*tmp_path.glob("written*")]
    assert reason in str(caught.value)
    assert "saved_model.pb" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensorflow_itself_runs_an_initialiser_as_it_opens_a_model(tmp_path: Path) -> None:
    written = tmp_path / "written"
    folder = _initialiser(tmp_path / "model", str(written))
    assert not written.exists()
    tf.saved_model.load(str(folder))
    assert written.exists()  # what all of this is for


@pytest.mark.parametrize("edit", [_as_the_signature, _as_an_operation, _as_an_implementation])
def test_tensorflow_itself_writes_a_file_when_such_a_signature_is_called(
    edit: Callable[[Any, str], None], tmp_path: Path
) -> None:
    folder = _written_by(edit)(tmp_path / "model", str(tmp_path / "written"))
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
    folder = save(tmp_path / "model", lambda x: x)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(folder / "saved_model.pb", path)
    with pytest.raises(CorruptArtifact, match=name.split("/")[0].replace(".", r"\.")):
        open_saved_model(folder)


def test_a_person_may_allow_an_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "model", lambda x: tf.linalg.inv(tf.matmul(x, x, transpose_a=True)))
    with pytest.raises(CorruptArtifact, match="SHIPWAY_OPERATIONS=MatrixInverse"):
        check_saved_model(folder)
    monkeypatch.setenv("SHIPWAY_OPERATIONS", "MatrixInverse")
    assert open_saved_model(folder).signatures["serving_default"] is not None


def exported(folder: Path, recipe: Any, params: Any, encoder: Any) -> Path:
    """As shipway.training.export saves it, without a training: weights change no operation."""
    import tf2onnx

    model = recipe.build_model(params, encoder)
    names = sorted(model.input_names)
    types = {"int64": tf.int64, "float32": tf.float32}
    specs = [tf.TensorSpec([None, *encoder.features[n].shape], types[encoder.features[n].dtype], name=n) for n in names]

    def serve(*tensors: Any) -> dict[str, Any]:
        logits = model(dict(zip(names, tensors, strict=True)), training=False)
        return {"probabilities": tf.nn.softmax(tf.cast(logits, tf.float32) / 1.3, name="probabilities")}

    module = tf.Module()
    module.model = model
    module.serve = tf.function(serve, input_signature=specs)
    tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": module.serve})
    tf2onnx.convert.from_function(module.serve, input_signature=specs, opset=17, output_path=str(folder / "model.onnx"))
    return folder


VARIANTS: dict[str, dict[str, Any]] = {"as it is": {}, "trained alone": {"svm_weight": 0.0}, "one": {"members": 1}}
EXPORTS = [*(("bag", variant) for variant in VARIANTS), *((each, "as it is") for each in ("lstm", "gru", "cnn"))]


@pytest.mark.parametrize(("architecture", "variant"), EXPORTS)
def test_what_the_intents_recipe_exports_is_allowed(architecture: str, variant: str, tmp_path: Path) -> None:
    recipe = load_recipe("intents")
    encoder = recipe.fit_encoder([toy.rows(60)], recipe.EncoderParams(buckets=1024))
    params = recipe.Params(architecture=architecture, dim=8, **VARIANTS[variant])
    folder = exported(tmp_path, recipe, params, encoder)
    check_saved_model(folder / "saved_model")
    check_onnx(folder / "model.onnx")


def test_what_it_exports_with_a_persons_word_vectors_is_allowed(tmp_path: Path) -> None:
    recipe = load_recipe("intents")
    encoder: Any = recipe.fit_encoder([toy.rows(60)], recipe.EncoderParams(buckets=1024))
    (tmp_path / "vectors").write_text("\n".join(f"{word} 0.1 0.2 0.3" for word in encoder.vocabulary[:5]))
    params = recipe.Params(architecture="bag", dim=8, embeddings=(tmp_path / "vectors").as_uri())
    folder = exported(tmp_path, recipe, params, encoder)
    check_saved_model(folder / "saved_model")
    check_onnx(folder / "model.onnx")


def test_what_a_users_own_recipe_exports_is_allowed(tmp_path: Path) -> None:
    recipe = own_recipe.recipe
    encoder = recipe.fit_encoder([toy.rows(60)], own_recipe.EncoderParams())
    folder = exported(tmp_path, recipe, own_recipe.Params(), encoder)
    check_saved_model(folder / "saved_model")
    check_onnx(folder / "model.onnx")
