"""Only `shipway.scoring.runtimes` opens a model, and it checks each before it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOOR = "src/shipway/scoring/runtimes.py"
LOADERS = {"load_model", "InferenceSession", "load_weights", "from_saved_model", "SavedModelBundle"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
# Between a process and the children it started itself: nothing of it is ever stored.
PICKLES_TO_ITS_CHILDREN = {"components/prep/pool.py"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for top in ("src", "components", "pipelines", "benchmarks"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if not path.is_symlink():
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def opens_a_model(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return any(alias.name in LOADERS for alias in node.names) or (node.module or "").endswith("saved_model")
    if not isinstance(node, ast.Attribute):
        return False
    is_saved_model = isinstance(node.value, ast.Attribute) and node.value.attr == "saved_model"
    return node.attr in LOADERS or (is_saved_model and node.attr != "save")


def unpickles(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in UNPICKLERS for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in UNPICKLERS
    return (
        isinstance(node, ast.keyword)
        and node.arg == "allow_pickle"
        and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    )


def test_one_module_opens_models() -> None:
    found = {where for where, tree in sources() for node in ast.walk(tree) if opens_a_model(node)}
    assert found == {DOOR}


def test_nothing_that_was_stored_is_unpickled() -> None:
    found = {where for where, tree in sources() for node in ast.walk(tree) if unpickles(node)}
    assert found == PICKLES_TO_ITS_CHILDREN


@pytest.mark.parametrize(
    "line",
    [
        "tf.saved_model.load(x)",
        "tf.compat.v1.saved_model.loader.load(s, t, x)",
        "tf.keras.models.load_model(x)",
        "from onnxruntime import InferenceSession",
        "ort.InferenceSession(x)",
        "from tensorflow.saved_model import load",
    ],
)
def test_the_rule_knows_a_loader_however_it_is_named(line: str) -> None:
    assert any(opens_a_model(node) for node in ast.walk(ast.parse(line)))
