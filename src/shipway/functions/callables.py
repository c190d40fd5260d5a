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
    found = inspect.unwrap(function)
    if inspect.ismethod(found):
        raise InvalidSpec(
            f"{found.__qualname__} is a method of an object, which cannot travel",
            field="function",
            fix="give a function that makes the object",
        )
    if isinstance(found, partial):
        name, fixed = getattr(found.func, "__name__", "the function"), ", ".join(found.keywords)
        raise InvalidSpec(
            f"a functools.partial of {name} cannot travel",
            field="function",
            fix=f"give {name} itself, and {fixed or 'what it fixes'} with its other parameters",
        )
    if not isinstance(found, FunctionType):
        what = f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
        raise InvalidSpec(
            f"{what} has no source that could travel", field="function", fix="give a function made by `def`"
        )
    if found.__name__ == "<lambda>":
        raise InvalidSpec("a lambda cannot travel", field=where_of(found), fix="give it a name: def train(...): ...")
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found):
        raise InvalidSpec(
            f"{found.__name__} is async or a generator", field=where_of(found), fix="give one that returns"
        )
    _check_decorators(function, found)
    return found


def _check_decorators(function: Any, found: FunctionType) -> None:
    """Refuses what decorators hid, or what they would add and the source does not show."""
    names = [name for name, value in found.__globals__.items() if value is function]
    if found.__code__.co_freevars and names and found.__name__ not in names:
        raise InvalidSpec(
            f"{names[0]} is a function {found.__name__!r} that a decorator made, which hides what it decorates",
            field=where_of(found),
            fix=f"put @functools.wraps above {found.__name__}, or take the decorator off",
        )
    piece = piece_of(found)
    if found is not function and piece is not None and not piece.is_decorated:
        raise InvalidSpec(
            f"{found.__name__} was decorated by a call, which would be lost",
            field=where_of(found),
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
