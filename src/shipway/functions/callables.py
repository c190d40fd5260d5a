"""What a person gave as a function: whether it is one whose source can travel."""

from __future__ import annotations

import inspect
from functools import partial
from types import FunctionType
from typing import Any

from shipway.errors import InvalidSpec
from shipway.functions.pieces import piece_of, shown_file


def plain_function(function: Any) -> FunctionType:
    """The function under its decorators.

    Raises:
        InvalidSpec: what was given is no function whose source says all that it does.
    """
    if not callable(function):
        raise InvalidSpec(f"got {type(function).__name__} {function!r:.80}, expected a function", field="function")
    plain = inspect.unwrap(function)
    if inspect.ismethod(plain):
        raise InvalidSpec(
            f"{plain.__qualname__} is a method of an object, which cannot travel",
            field="function",
            fix="give a function that makes the object",
        )
    if isinstance(plain, partial):
        name, fixed = getattr(plain.func, "__name__", "the function"), ", ".join(plain.keywords)
        raise InvalidSpec(
            f"a functools.partial of {name} cannot travel",
            field="function",
            fix=f"give {name} itself, and {fixed or 'what it fixes'} with its other parameters",
        )
    if not isinstance(plain, FunctionType):
        what = f"the class {plain.__name__}" if isinstance(plain, type) else f"a {type(plain).__name__}"
        raise InvalidSpec(
            f"{what} has no source that could travel", field="function", fix="give a function made by `def`"
        )
    if plain.__name__ == "<lambda>":
        raise InvalidSpec("a lambda cannot travel", field=where_of(plain), fix="give it a name: def train(...): ...")
    if inspect.iscoroutinefunction(plain) or inspect.isgeneratorfunction(plain):
        raise InvalidSpec(
            f"{plain.__name__} is async or a generator", field=where_of(plain), fix="give one that returns"
        )
    _check_decorators(function, plain)
    return plain


def _check_decorators(function: Any, plain: FunctionType) -> None:
    """Refuses what decorators hid, or what they would add and the source does not show."""
    names = [name for name, value in plain.__globals__.items() if value is function]
    if plain.__code__.co_freevars and names and plain.__name__ not in names:
        raise InvalidSpec(
            f"{names[0]} is a function {plain.__name__!r} that a decorator made, which hides what it decorates",
            field=where_of(plain),
            fix=f"put @functools.wraps above {plain.__name__}, or take the decorator off",
        )
    piece = piece_of(plain)
    if plain is not function and piece is not None and not piece.is_decorated:
        raise InvalidSpec(
            f"{plain.__name__} was decorated by a call, which would be lost",
            field=where_of(plain),
            fix="write the decorator with @ above its def",
        )


def where_of(function: FunctionType, line: int = 1) -> str:
    """`train.py:12`, or `In [3]:2` of a notebook.

    Args:
        function: The function.
        line: Counted from the source's first.
    """
    code = function.__code__
    return f"{shown_file(code.co_filename)}:{code.co_firstlineno + line - 1}"
