"""No files import each other in a circle, lazily either: what a module needs can be read from the top down."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "shipway": ROOT / "src/shipway",
    "shipway.components": ROOT / "components",
    "shipway.pipelines": ROOT / "pipelines",
}


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):  # which follows neither of the package's two links
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


def imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of every import below a node, but for those of annotations alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, "") for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((child.module or "", alias.name) for alias in child.names)
        yield from imports(child)


def graph(known: dict[str, Path]) -> dict[str, set[str]]:
    found = {}
    for name, path in known.items():
        needed = set()
        for module, attribute in imports(ast.parse(path.read_text(encoding="utf-8"))):
            inner = f"{module}.{attribute}"
            needed.add(inner if inner in known else module)
        found[name] = {other for other in needed if other in known and other != name}
    return found


def test_no_files_import_each_other_in_a_circle() -> None:
    known = modules()
    assert "shipway.components.prep.core" in known
    try:
        order = list(TopologicalSorter(graph(known)).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from error
    assert len(order) == len(known)


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import third\nimport other\n")
    other.write_text("def late():\n    from one import name\n")
    assert graph({"one": one, "other": other}) == {"one": {"other"}, "other": {"one"}}
