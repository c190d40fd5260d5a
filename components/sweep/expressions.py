"""The short form of a search space: `uniform(0, 0.5)` as text, the same in YAML, in the UI and from Python.

The helpers return that text, so that a notebook's document and a YAML file's are one document with one hash.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from typing import Any

from shipway.errors import nearest

Number = int | float
SHOWN = 160  # characters of what was given, in a message
LARGEST = 2**63  # beyond it no engine, and no float with all its digits, follows


def uniform(low: Number, high: Number) -> str:
    """A real number, every value equally likely."""
    return f"uniform({low!r}, {high!r})"


def loguniform(low: Number, high: Number) -> str:
    """A positive real number, every order of magnitude equally likely: learning rates, regularisation."""
    return f"loguniform({low!r}, {high!r})"


def quniform(low: Number, high: Number, step: Number) -> str:
    """A real number in steps from `low`."""
    return f"quniform({low!r}, {high!r}, {step!r})"


def randint(low: int, high: int, step: int = 1) -> str:
    """A whole number, both ends included (as in Katib's feasible space)."""
    return f"randint({low!r}, {high!r})" if step == 1 else f"randint({low!r}, {high!r}, {step!r})"


def lograndint(low: int, high: int) -> str:
    """A whole number, every order of magnitude equally likely, both ends included."""
    return f"lograndint({low!r}, {high!r})"


def choice(*values: Any) -> str:
    """One of the values, which may also be given as one list."""
    given = values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values
    return f"choice({', '.join(json.dumps(value, ensure_ascii=False) for value in given)})"


def parse_expression(text: str) -> dict[str, Any]:
    """Katib's `parameterType` and `feasibleSpace` for a short form.

    Raises:
        ValueError: not one of the expressions above; says which there are.
    """
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    name, arguments = _call(text)
    if name not in _READERS:
        raise ValueError(
            f"{shown!r} is no search space; expected a list of values or one of {', '.join(_USAGE.values())}"
            f"{nearest(name, _USAGE)}"
        )
    try:
        return _READERS[name](arguments)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{shown!r} does not fit {_USAGE[name]}") from error


def categories(values: Sequence[Any]) -> dict[str, Any]:
    """Katib's `discrete` for numbers (their order means something), `categorical` for everything else."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return {"parameterType": "discrete" if numbers else "categorical", "feasibleSpace": {"list": list(values)}}


def _call(text: str) -> tuple[str, list[Any]]:
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return node.func.id, [_literal(argument) for argument in node.args]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: thousands of brackets
        pass
    return text.split("(")[0].strip(), []


def _literal(node: ast.expr) -> Any:
    """Python's literals, JSON's names of true and false, and words without quotes."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False}.get(node.id, node.id)
    return ast.literal_eval(node)


def _range(kind: str, arguments: list[Any], step: Number | None = None, distribution: str | None = None) -> Any:
    low, high = arguments
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in (low, high)):
        raise TypeError("bounds must be numbers")
    if any(abs(number) > LARGEST for number in (low, high, step or 0)):
        raise ValueError("bounds must be below 2^63")
    space = {"min": low, "max": high, "step": step, "distribution": distribution}
    return {"parameterType": kind, "feasibleSpace": {key: value for key, value in space.items() if value is not None}}


def _choice(arguments: list[Any]) -> dict[str, Any]:
    values = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list | tuple) else arguments
    if not values:
        raise ValueError("no values")
    return categories(values)


_READERS: dict[str, Callable[[list[Any]], dict[str, Any]]] = {
    "uniform": lambda a: _range("double", a),
    "loguniform": lambda a: _range("double", a, distribution="logUniform"),
    "quniform": lambda a: _range("double", a[:2], a[2]),
    "randint": lambda a: _range("int", a[:2], *a[2:]),
    "lograndint": lambda a: _range("int", a, distribution="logUniform"),
    "choice": _choice,
}
_USAGE = {
    "uniform": "uniform(low, high)",
    "loguniform": "loguniform(low, high)",
    "quniform": "quniform(low, high, step)",
    "randint": "randint(low, high)",
    "lograndint": "lograndint(low, high)",
    "choice": "choice(a, b, ...)",
}
