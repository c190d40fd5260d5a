"""Where functions and classes stand: their own lines, in a file or in a notebook's cell."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any


@dataclass
class Piece:
    """A function or class as it stands in its file."""

    text: str
    file: str
    line: int  # its first, in the file

    def at(self, line: int) -> str:
        return f"{shown_file(self.file)}:{self.line + line - 1}"

    @property
    def is_decorated(self) -> bool:
        """Whether a decorator stands above it."""
        return bool(getattr(ast.parse(self.text).body[0], "decorator_list", ()))


def piece_of(thing: Any) -> Piece | None:
    """A function's or class's own lines; None where nobody has them."""
    try:
        if isinstance(thing, type):
            return _class_piece(thing)
        lines, first = inspect.getsourcelines(thing)
    except (OSError, TypeError, SyntaxError):
        return _in_a_cell(thing)
    text = textwrap.dedent("".join(lines))
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    if not tree.body or not isinstance(tree.body[0], ast.FunctionDef):
        return None
    return Piece(text, thing.__code__.co_filename, max(first, 1))


def assigned(name: str, filename: str) -> Piece | None:
    """The one statement that gives a name its value at the top of a file; of a notebook in the newest cell that does.

    None where there is none, where there are several, and where it gives other names their values, too.
    """
    for each in reversed(_cells()) if _is_of_a_notebook(filename) else [filename]:
        whole = _lines(each)
        nodes = [node for node in ast.parse("".join(whole)).body if name in _assigned_by(node)]
        if len(nodes) == 1 and _assigned_by(nodes[0]) == [name]:
            first = nodes[0].lineno
            return Piece("".join(whole[first - 1 : nodes[0].end_lineno]), each, first)
        if nodes:
            return None
    return None


def _in_a_cell(thing: Any) -> Piece | None:
    """A function that a cell under `%%time` made, which Python knows by no file."""
    code = getattr(thing, "__code__", None)
    if code is None:
        return None
    for cell in reversed(_cells()):
        whole = _lines(cell)
        for node in ast.parse("".join(whole)).body:
            if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                if first == code.co_firstlineno:
                    return Piece("".join(whole[first - 1 : node.end_lineno]), cell, first)
    return None


def _is_of_a_notebook(filename: str) -> bool:
    return filename in _cells() or (shell() is not None and filename.startswith("<"))


def _lines(filename: str) -> list[str]:
    """Of a file or a cell, those under its `%%time`."""
    whole = linecache.getlines(filename)
    if whole and whole[0].startswith("get_ipython().run_cell_magic("):
        called = ast.parse("".join(whole)).body[0]
        body = called.value.args[-1] if isinstance(called, ast.Expr) and isinstance(called.value, ast.Call) else None
        if isinstance(body, ast.Constant) and isinstance(body.value, str):
            try:
                ast.parse(body.value)
            except SyntaxError:  # %%bash
                return []
            return body.value.splitlines(keepends=True)
    return whole


def _assigned_by(node: ast.stmt) -> list[str]:
    """The names that a statement assigns."""
    targets: list[ast.expr] = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]


def _class_piece(thing: type) -> Piece | None:
    """A class of a notebook has no file: its methods know their cell, else the newest cell that defines it."""
    codes = [each.__code__ for each in vars(thing).values() if isinstance(each, FunctionType)]
    for code in codes:
        if piece := _class_in(code.co_filename, thing.__name__, code.co_firstlineno):
            return piece
    for cell in reversed(_cells()):
        if thing.__module__ == "__main__" and (piece := _class_in(cell, thing.__name__)):
            return piece
    lines, first = inspect.getsourcelines(thing)
    return Piece(textwrap.dedent("".join(lines)), inspect.getfile(thing), max(first, 1))


def _class_in(filename: str, name: str, line: int = 0) -> Piece | None:
    """The class of that name in a file or cell, around a line where one is given."""
    whole = _lines(filename)
    for node in ast.walk(ast.parse("".join(whole))):
        if isinstance(node, ast.ClassDef) and node.name == name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if not line or first <= line <= (node.end_lineno or first):
                return Piece(textwrap.dedent("".join(whole[first - 1 : node.end_lineno])), filename, first)
    return None


def shown_file(filename: str) -> str:
    """A file as a person knows it; a notebook's cell by its number."""
    cells = _cells()
    if filename in cells:
        return f"In [{cells[filename]}]"
    try:
        return str(Path(filename).relative_to(Path.cwd()))
    except ValueError:
        return filename


def _cells() -> dict[str, int]:
    """A notebook's cells as Python calls them, with their numbers, in the order in which they ran."""
    return dict(getattr(getattr(shell(), "compile", None), "_filename_map", {}))


def shell() -> Any:
    """The IPython that this process is, None where it is none."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
