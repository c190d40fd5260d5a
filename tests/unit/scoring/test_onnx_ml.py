"""Operations of ai.onnx.ml: what scikit-learn's exporter writes is opened, what contradicts itself never runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from shipway.errors import CorruptArtifact
from shipway.scoring.onnx_models import check_onnx
from shipway.scoring.operations import ML
from shipway.scoring.runtimes import open_onnx

pytestmark = pytest.mark.xdist_group("scikit-learn")

WIDTH = 4
X = np.random.default_rng(0).random((90, WIDTH)).astype(np.float32)
CLASSES = (X[:, 0] * 3).astype(int)
VALUES = X[:, 0] * 3 + X[:, 1]


def fitted(name: str) -> Any:
    from sklearn import ensemble, linear_model, naive_bayes, pipeline, preprocessing, tree

    models: dict[str, Any] = {
        "logistic regression": linear_model.LogisticRegression(),
        "linear regression": linear_model.LinearRegression(),
        "a forest of classes": ensemble.RandomForestClassifier(5),
        "a forest of numbers": ensemble.ExtraTreesRegressor(5),
        "boosted trees of classes": ensemble.GradientBoostingClassifier(n_estimators=5),
        "boosted histograms": ensemble.HistGradientBoostingRegressor(max_iter=5),
        "a tree": tree.DecisionTreeClassifier(),
        "naive Bayes": naive_bayes.MultinomialNB(),
        "a scaled one": pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
        "a normalised one": pipeline.make_pipeline(preprocessing.Normalizer(), linear_model.LogisticRegression()),
    }
    model = models[name]
    return model.fit(X, CLASSES if hasattr(model, "predict_proba") else VALUES)


NAMES = ["logistic regression", "linear regression", "a forest of classes", "a forest of numbers",
         "boosted trees of classes", "boosted histograms", "a tree", "naive Bayes", "a scaled one",
         "a normalised one"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_scikit_learn_is_exported_as_is_opened_and_gives_its_numbers(name: str, tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    model = fitted(name)
    is_classifier = hasattr(model, "predict_proba")
    options = {id(model): {"zipmap": False}} if is_classifier else None
    given = [("x", FloatTensorType([None, WIDTH]))]
    exported = to_onnx(model, initial_types=given, options=options, target_opset={"": 17, "ai.onnx.ml": 3})
    assert any(node.domain for node in exported.graph.node), "no operation of ai.onnx.ml: the case shows nothing"
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.SerializeToString())
    found = open_onnx(path).run(None, {"x": X})[-1]
    expected = model.predict_proba(X) if is_classifier else model.predict(X)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


TREE: dict[str, Any] = {
    "nodes_treeids": [0] * 3,
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [0] * 3,
    "nodes_values": [0.5, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "target_treeids": [0, 0],
    "target_nodeids": [1, 2],
    "target_ids": [0, 0],
    "target_weights": [1.0, 2.0],
    "n_targets": 1,
}
LINEAR: dict[str, Any] = {"coefficients": [1.0] * WIDTH, "intercepts": [0.0], "targets": 1}
CLASSIFIER = {"coefficients": [1.0] * 3 * WIDTH, "intercepts": [0.0] * 3, "classlabels_ints": [0, 1, 2]}


def written(folder: Path, operation: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> Path:
    kept = {name: value for name, value in attributes.items() if value is not None}
    node = helper.make_node(operation, ["x"], list(outputs), domain="ai.onnx.ml", **kept)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info(outputs[-1], TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
    return path


def test_the_files_that_are_broken_below_run_when_they_are_whole(tmp_path: Path) -> None:
    for operation, outputs, attributes in (
        ("TreeEnsembleRegressor", ("y",), TREE),
        ("LinearRegressor", ("y",), LINEAR),
        ("LinearClassifier", ("c", "y"), CLASSIFIER),
        ("Scaler", ("y",), {"offset": [0.0] * WIDTH, "scale": [1.0] * WIDTH}),
    ):
        assert len(open_onnx(written(tmp_path, operation, outputs, **attributes)).run(None, {"x": X})[0]) == len(X)


@pytest.mark.parametrize(
    ("operation", "broken"),
    [
        ("TreeEnsembleRegressor", {"nodes_featureids": [100_000, 0, 0]}),
        ("TreeEnsembleRegressor", {"nodes_featureids": [-1, 0, 0]}),
        ("TreeEnsembleRegressor", {"nodes_truenodeids": [0, 0, 0], "nodes_falsenodeids": [0, 0, 0]}),
        ("TreeEnsembleRegressor", {"nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"]}),
        ("TreeEnsembleRegressor", {"nodes_truenodeids": [77, 0, 0]}),
        ("TreeEnsembleRegressor", {"nodes_falsenodeids": [2]}),
        ("TreeEnsembleRegressor", {"target_ids": [0, 500_000]}),
        ("TreeEnsembleRegressor", {"target_ids": [0, -5]}),
        ("TreeEnsembleRegressor", {"target_weights": [1.0]}),
        ("LinearRegressor", {"targets": 1000}),
        ("LinearRegressor", {"coefficients": [1.0]}),
        ("LinearClassifier", {"coefficients": [1.0]}),
        ("LinearClassifier", {"intercepts": [0.0]}),
        ("LinearClassifier", {"classlabels_ints": [0]}),
        ("Scaler", {"offset": [0.0, 1.0], "scale": [1.0, 1.0]}),
    ],
)
def test_numbers_that_contradict_each_other_never_give_an_answer(
    operation: str, broken: dict[str, Any], tmp_path: Path
) -> None:
    whole = {"TreeEnsembleRegressor": TREE, "LinearRegressor": LINEAR, "LinearClassifier": CLASSIFIER}
    outputs = ("c", "y") if operation == "LinearClassifier" else ("y",)
    path = written(tmp_path, operation, outputs, **{**whole.get(operation, {}), **broken})
    with pytest.raises(Exception, match=r"ONNXRuntimeError|ONNX Runtime cannot load"):
        open_onnx(path).run(None, {"x": X})


def test_features_that_lie_outside_a_row_are_never_read(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ArrayFeatureExtractor", ["x", "places"], ["y"], domain="ai.onnx.ml")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("places", TensorProto.INT64, [1], [100_000])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        open_onnx(path).run(None, {"x": X})


@pytest.mark.parametrize("operation", ["ZipMap", "SVMClassifier", "LabelEncoder", "DictVectorizer", "TreeEnsemble"])
def test_others_of_its_domain_are_refused_by_name(operation: str, tmp_path: Path) -> None:
    assert f"ai.onnx.ml:{operation}" not in ML
    with pytest.raises(CorruptArtifact, match=f"operation 'ai.onnx.ml:{operation}'.*SHIPWAY_OPERATIONS=ai.onnx.ml:"):
        check_onnx(written(tmp_path, operation))


@pytest.mark.parametrize("field", ["n_targets", "targets"])
def test_answers_of_a_row_count_as_what_a_tensor_grows_to(field: str, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("LinearRegressor", ["x"], ["wide"], domain="ai.onnx.ml", **{field: 1 << 20}),
        helper.make_node("Concat", ["wide"] * 80, ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
    with pytest.raises(CorruptArtifact, match=r"operation 'Concat'.* makes 83886080 elements"):
        check_onnx(path)
