"""Every component room has the same furniture, and keeps its launch and worker to itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = sorted(path.parent for path in (ROOT / "components").glob("*/__init__.py"))
WITH_COMPONENTS = sorted(
    path.parent for top in ("components", "pipelines") for path in ROOT.glob(f"{top}/*/component.py")
)
PRIVATE = {"launch", "worker"}
BODY_LINES = 10
# Rooms whose one task does the work of others, and calls their launches (docs/decisions/0122).
COMPOSED = {"release": {"promote", "register", "deploy"}}


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything a module imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_never_imports_anothers_launch_or_worker(room: Path) -> None:
    for path in room.rglob("*.py"):
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            parts = name.split(".")
            if parts[:2] == ["shipway", "components"] and len(parts) > 3 and parts[2] != room.name:
                is_composed = path.name == "launch.py" and parts[2] in COMPOSED.get(room.name, ())
                assert is_composed or parts[3] not in PRIVATE, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("room", WITH_COMPONENTS, ids=lambda room: room.name)
def test_a_component_only_names_its_inputs(room: Path) -> None:
    tree = ast.parse((room / "component.py").read_text(encoding="utf-8"))
    top = ast.Module([node for node in tree.body if not isinstance(node, ast.FunctionDef)], [])
    for name in imported(top):
        allowed = name.startswith(("kfp", "typing.", "shipway.images", "shipway.artifacts", "__future__"))
        assert allowed or name == "shipway.images", f"{room.relative_to(ROOT)}/component.py imports {name}"
    for function in [node for node in tree.body if isinstance(node, ast.FunctionDef)]:
        assert ast.get_docstring(function), f"{room.name}.{function.name} has no docstring"
        body = function.body[1:]
        lines = body[-1].end_lineno - body[0].lineno + 1  # type: ignore[operator]
        assert lines <= BODY_LINES, f"{room.name}.{function.name} has a body of {lines} lines; move it to launch.py"
