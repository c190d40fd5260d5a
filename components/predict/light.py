"""KServe's server without its control-plane client.

`import kserve` takes 3.4 s, of which 2.2 s go to the Kubernetes client, 200 generated models of custom resources,
pandas and httpx's command line: nothing that a predictor calls. They are left out while kserve is imported, and can be
imported afterwards as ever. A version of kserve that was not measured is imported whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

KNOWN_VERSIONS = ("0.21.0",)
_LEFT_OUT = (
    "kserve.api",
    "kserve.api_client",
    "kserve.configuration",
    "kserve.exceptions",
    "kserve.models",
    "pandas",
)
_OPTIONAL = "httpx._main"  # httpx does without it where rich is not installed


class _Placeholder(ModuleType):
    """A module whose every name is an empty class: enough for annotations and re-exports."""

    __path__ = []  # a package: its submodules are placeholders too  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__module__": self.__name__})


class _Finder:
    """Answers for what is left out, and for nothing else."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name == _OPTIONAL:
            raise ImportError(f"{name} is left out")
        is_left_out = any(name == root or name.startswith(f"{root}.") for root in _LEFT_OUT)
        return ModuleSpec(name, self, is_package=True) if is_left_out else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def light_kserve() -> Iterator[None]:
    """Inside, kserve is imported without what a predictor never calls."""
    if "kserve" in sys.modules or metadata.version("kserve") not in KNOWN_VERSIONS:
        yield
        return
    finder: Any = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _Placeholder):
                del sys.modules[name]
