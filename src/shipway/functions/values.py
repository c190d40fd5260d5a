"""What a global holds, written as source that gives an equal value; nothing is pickled.

Only what can be written exactly: plain values, paths, ranges, small arrays, loggers, members of an enum, and named
tuples and dataclasses of those. A table, a model or a generator of random numbers is no such value.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

MOST_CHARS = 10_000
_PLAIN = (bool, int, str, bytes, type(None))
_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("{", "}")}
_NUMBERS = "biuf"  # kinds of NumPy's types: bool, whole, unsigned, floating


class _NotPlain(Exception):
    """The value has no such source."""


@dataclass
class Written:
    """A value as source.

    Attributes:
        text: An expression.
        imports: Statements that it needs; their names begin with `_`, so that they hide none of the person's own.
        classes: Name -> class, of those that the expression calls.
    """

    text: str = ""
    imports: set[str] = field(default_factory=set)
    classes: dict[str, type] = field(default_factory=dict)


def written(value: Any) -> Written | None:
    """The value as source; None where that would be long, or not give an equal one."""
    source = Written()
    try:
        source.text = _Writer(source).text(value)
    except (_NotPlain, RecursionError):
        return None
    return source


@dataclass
class _Writer:
    found: Written
    left: int = MOST_CHARS

    def text(self, value: Any) -> str:
        kind = type(value)
        if kind in _PLAIN or (kind is float and math.isfinite(value)) or kind is range:
            return self._spent(repr(value))
        if kind is float:
            return self._spent(f"float('{value}')")
        if kind in _BRACKETS:
            return self._several(kind, value)
        if kind is dict:
            return "{" + ", ".join(f"{self.text(key)}: {self.text(each)}" for key, each in value.items()) + "}"
        if kind is complex:
            return f"complex({self.text(value.real)}, {self.text(value.imag)})"
        if kind is logging.Logger:
            return self._imported("logging", f"_logging.getLogger({value.name!r})")
        if isinstance(value, PurePath) and kind.__module__.partition(".")[0] == "pathlib":
            return self._imported("pathlib", f"_pathlib.{kind.__name__.removeprefix('Posix')}({str(value)!r})")
        if kind.__module__ == "numpy":
            return self._of_numpy(value)
        return self._of_a_class(value)

    def _several(self, kind: type, value: Iterable[Any]) -> str:
        texts = [self.text(each) for each in value]
        if kind in (set, frozenset):
            texts.sort()  # their own order is another one in each process, which would make it another function
        opening, closing = _BRACKETS[kind]
        inside = ", ".join(texts) + ("," if kind is tuple and len(texts) == 1 else "")
        if kind is frozenset or (kind is set and not texts):
            return f"{kind.__name__}({opening + inside + closing if texts else ''})"
        return opening + inside + closing

    def _of_numpy(self, value: Any) -> str:
        kind, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
        if kind is None or kind.kind not in _NUMBERS or kind.itemsize > 8 or not kind.isnative:
            raise _NotPlain
        if type(value).__name__ != "ndarray":
            return self._imported("numpy", f"_numpy.dtype('{kind.name}').type({self.text(value.item())})")
        if value.size > self.left:
            raise _NotPlain
        items = self.text(value.ravel().tolist())
        return self._imported("numpy", f"_numpy.array({items}, dtype='{kind.name}').reshape({shape})")

    def _of_a_class(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, enum.Enum):
            if not (value.name or "").isidentifier():
                raise _NotPlain
            return f"{self._class(kind)}.{self._spent(value.name)}"
        if isinstance(value, tuple) and hasattr(kind, "_fields") and kind.__len__ is tuple.__len__:
            return self._called(kind, dict(zip(kind._fields, value, strict=True)))
        if dataclasses.is_dataclass(value) and _is_as_made(value):
            return self._called(kind, {each.name: getattr(value, each.name) for each in dataclasses.fields(value)})
        raise _NotPlain

    def _called(self, kind: type, fields: dict[str, Any]) -> str:
        inside = ", ".join(f"{name}={self.text(each)}" for name, each in fields.items())
        return f"{self._class(kind)}({inside})"

    def _class(self, kind: type) -> str:
        if not kind.__qualname__.isidentifier():  # within another class or a function
            raise _NotPlain
        self.found.classes[kind.__name__] = kind
        return self._spent(kind.__name__)

    def _imported(self, module: str, text: str) -> str:
        self.found.imports.add(f"import {module} as _{module}")
        return self._spent(text)

    def _spent(self, text: str) -> str:
        self.left -= len(text)
        if self.left < 0:
            raise _NotPlain
        return text


def _is_as_made(value: Any) -> bool:
    """Whether a dataclass's fields make an equal object: nothing else is done to it, or kept in it."""
    names = {each.name for each in dataclasses.fields(value)}
    return (
        all(each.init for each in dataclasses.fields(value))
        and type(value).__dataclass_params__.init
        and not hasattr(value, "__post_init__")
        and set(getattr(value, "__dict__", names)) == names
    )
