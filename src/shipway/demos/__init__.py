"""Demos: real data for each shipped recipe, as a stranger could bring it, and the run that takes them to an endpoint.

One module a recipe, of its name, with an object `demo`; nothing else lists them. What several share begins with an
underscore.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from shipway.errors import InvalidSpec


class Demo(Protocol):
    """What `shipway demo --recipe NAME` needs.

    Attributes:
        about: What the rows are, as the end of "The demo: ...".
        pipeline: The pipeline that runs.
        data: The file or folder that `write` makes, in the demo's folder.
        params: Of the pipeline, beside `data`.
    """

    about: str
    pipeline: str
    data: str
    params: dict[str, Any]

    def write(self, path: Path) -> None:
        """Writes the data; `path` does not exist yet. The same bytes each time."""
        ...


def names() -> list[str]:
    """Recipes that have a demo."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> Demo:
    """A recipe's demo.

    Raises:
        InvalidSpec: no shipped recipe of that name has one.
    """
    known = names()
    if name not in known:
        raise InvalidSpec("no demo of", field="--recipe", given=name, allowed=known)
    demo: Demo = import_module(f"shipway.demos.{name}").demo
    return demo


def params(demo: Demo, home: Path) -> dict[str, Any]:
    """The pipeline's parameters, once the demo's data lie under `home`."""
    import shutil

    from shipway import private

    data = home / "demo" / demo.data
    if not data.exists():
        private.make_folder(data.parent)
        part = data.with_name(f"{data.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)
        demo.write(part)
        part.replace(data)  # half of it must not pass for the demo's data ever after
    return {**demo.params, "data": str(data)}
