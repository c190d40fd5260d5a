"""Libraries that an image does not hold: their names can be mentioned, and say what to do when they are used.

A recipe fits its encoder on Polars' frames, its task counts in scipy's arrays, and its own fit is scikit-learn's, so
that its module imports them; the predictor only ever loads encoders and answers, the launcher reads a recipe's
parameters, and their images do without 250 MB.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

LIBRARIES = ("polars", "scipy", "sklearn")


class _Mentioned(type):
    """Classes that stand in annotations and type unions; making an instance of one is using it."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _mentioned(f"{cls.__name__}.{name}")

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise ImportError(
            f"{cls.__name__}: {cls.__name__.partition('.')[0]} is not in this image; load_encoder, encode and a task's "
            "answers do without it, or the endpoint names an image of its own that holds it"
        )


class _Absent(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _mentioned(f"{self.__name__}.{name}")


class _Finder(MetaPathFinder, Loader):
    """Finds absent libraries and all modules below them.

    Args:
        absent: Those that are not installed.
    """

    def __init__(self, absent: frozenset[str]) -> None:
        self._absent = absent

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in self._absent else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None: ...


def has_polars() -> bool:
    """Whether frames can be read here."""
    spec = find_spec("polars")
    return spec is not None and not isinstance(spec.loader, _Finder)


def _mentioned(name: str) -> type:
    return type.__call__(_Mentioned, name, (), {})  # type: ignore[no-any-return]


def allow_mention() -> None:
    """From now on `import polars` and the like succeed, whether they are installed or not."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    absent = frozenset(name for name in LIBRARIES if name not in sys.modules and find_spec(name) is None)
    if absent:
        sys.meta_path.insert(0, _Finder(absent))
