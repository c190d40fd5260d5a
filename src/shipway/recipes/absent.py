"""Polars for images that do not hold it: its names can be mentioned, and say what to do when they are used.

A recipe fits its encoder on Polars' frames, so its module imports Polars; the predictor only ever loads encoders, the
launcher reads a recipe's parameters, and their images do without 147 MB.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Mentioned(type):
    """Classes that stand in annotations and type unions; making an instance of one is using it."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _mentioned(f"{cls.__name__}.{name}")

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise ImportError(
            f"{cls.__name__}: polars is not in this image; load_encoder and encode do without it, or the endpoint "
            "names an image of its own that holds it"
        )


class _Absent(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _mentioned(f"{self.__name__}.{name}")


def _mentioned(name: str) -> type:
    return type.__call__(_Mentioned, name, (), {})  # type: ignore[no-any-return]


def has_polars() -> bool:
    """Whether frames can be read here."""
    known = sys.modules.get("polars")
    return not isinstance(known, _Absent) if known else find_spec("polars") is not None


def allow_mention_of_polars() -> None:
    """From now on `import polars` succeeds, whether it is installed or not."""
    if not has_polars():
        sys.modules["polars"] = _Absent("polars")
