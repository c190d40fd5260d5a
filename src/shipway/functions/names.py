"""Which names a piece of source takes from around it, and where it says so."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Names:
    """What a function or class asks of the module around it.

    Attributes:
        read: Name -> the first line that reads it, counted from 1 within the source.
        written: Likewise, names that it declares `global` and assigns.
        imported: (module, line) of imports in bodies; those that an `except ImportError` answers are left out.
        relative: Lines of relative imports.
        chains: Dotted names that are read, `sklearn.datasets.load_digits`.
        noted: Those of `read` that stand in annotations alone.
    """

    read: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    imported: list[tuple[str, int]] = field(default_factory=list)
    relative: list[int] = field(default_factory=list)
    chains: set[str] = field(default_factory=set)
    noted: set[str] = field(default_factory=set)


def names_of(text: str, own: str = "") -> Names:
    """The names of a source text.

    Args:
        text: A function or a class with its decorators, or a whole module.
        own: The name that the text itself defines, which it may use.
    """
    tree = ast.parse(text)
    lines = _lines_of_names(tree)
    read, written = _globals(symtable.symtable(text, "<source>", "exec"))
    read -= {own}
    noted = read - _globals(symtable.symtable(_without_annotations(text), "<source>", "exec"))[0]
    names = Names(
        read={name: lines.get(name, 1) for name in sorted(read, key=lambda each: lines.get(each, 0))},
        written={name: lines.get(name, 1) for name in sorted(written)},
        noted=noted,
    )
    for node, is_guarded in _walk(tree):
        if isinstance(node, ast.Import) and not is_guarded:
            names.imported.extend((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            names.relative.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and not is_guarded and node.module != "__future__":
            names.imported.append((node.module or "", node.lineno))
        elif isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            names.chains.add(dotted)
    return names


def _globals(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """(read, written) globals of a module's table, without what the module itself defines."""
    own = {each.get_name() for each in table.get_symbols() if each.is_assigned() or each.is_imported()}
    read = {each.get_name() for each in table.get_symbols() if each.is_referenced()} - own
    written: set[str] = set()
    pending = table.get_children()
    while pending:
        below = pending.pop()
        pending += below.get_children()
        for symbol in below.get_symbols():
            if symbol.is_global() and symbol.is_referenced() and symbol.get_name() not in own:
                read.add(symbol.get_name())
            if symbol.is_declared_global() and symbol.is_assigned():
                written.add(symbol.get_name())
    return read, written


def _without_annotations(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.unparse(tree)


def _lines_of_names(tree: ast.AST) -> dict[str, int]:
    lines: dict[str, int] = {}
    for node in ast.walk(tree):
        given = [node.id] if isinstance(node, ast.Name) else node.names if isinstance(node, ast.Global) else []
        for name in given:
            lines[name] = min(node.lineno, lines.get(name, node.lineno))  # type: ignore[attr-defined]
    return lines


def _walk(tree: ast.AST, is_guarded: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether a `try` around it answers an import that fails."""
    for node in ast.iter_child_nodes(tree):
        yield node, is_guarded
        if isinstance(node, ast.Try):
            answers = any(_catches_imports(handler) for handler in node.handlers)
            for part in (node.body, node.orelse, node.finalbody, *(handler.body for handler in node.handlers)):
                for child in part:
                    guarded = is_guarded or (answers and part is node.body)
                    yield child, guarded
                    yield from _walk(child, guarded)
        else:
            yield from _walk(node, is_guarded)


def _catches_imports(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(getattr(each, "id", "") in ("ImportError", "ModuleNotFoundError", "Exception") for each in caught)


def _dotted(node: ast.Attribute) -> str:
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    return ".".join([value.id, *reversed(parts)]) if isinstance(value, ast.Name) else ""


def functions_in(text: str) -> list[str]:
    """Names of the functions that a module defines at its top."""
    return [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
