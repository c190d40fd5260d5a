"""Finds a pipeline by the name a person typed."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from shipway import modules
from shipway.errors import InvalidSpec, NotFound, nearest
from shipway.local.light import import_kfp


def built_in() -> list[str]:
    """Names of the pipelines that the package ships."""
    folder = files("shipway").joinpath("pipelines")
    return sorted(Path(str(entry)).name for entry in folder.iterdir() if entry.joinpath("pipeline.py").is_file())


def reference_of(name: str) -> str:
    """`module:function` or `/absolute/file.py:function` of a pipeline.

    Args:
        name: A shipped pipeline's name, `package.module:function`, or `file.py[:function]`.

    Raises:
        NotFound: nothing of that name.
        InvalidSpec: no name of a function.
    """
    if ":" not in name and not name.endswith(".py"):
        if name not in built_in():
            raise NotFound(
                f"pipeline: unknown pipeline {name!r}; expected one of {', '.join(built_in())}, file.py:function "
                f"or package.module:function{nearest(name, built_in())}"
            )
        return f"shipway.pipelines.{name}.pipeline:{name}"
    module, _, function = name.partition(":")
    if not module.endswith(".py"):
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", name):
            raise InvalidSpec(f"pipeline: got {name!r}, expected file.py:function or package.module:function")
        return name
    path = Path(module).absolute()
    if not path.is_file():
        raise NotFound(f"pipeline: no file {module!r}")
    return f"{path}:{function or path.stem}"


def load_pipeline(reference: str) -> Any:
    """The pipeline function behind a reference, a kfp GraphComponent.

    Raises:
        InvalidSpec: the module does not import, or the name is no pipeline.
    """
    module_name, _, function = reference.rpartition(":")
    import_kfp()
    try:
        module = _load_file(Path(module_name)) if module_name.endswith(".py") else modules.load(module_name)
    except Exception as error:
        raise InvalidSpec(f"pipeline: {module_name} does not import: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if found is None or not hasattr(found, "pipeline_spec"):
        names = [key for key, value in vars(module).items() if hasattr(value, "pipeline_spec")]
        raise InvalidSpec(
            f"pipeline: {module_name} has no pipeline {function!r}; it has {', '.join(names) or 'none'}"
            f"{nearest(function, names)}"
        )
    return found


def _load_file(path: Path) -> Any:
    name = f"shipway_pipeline_{path.stem}"  # a `json.py` must not stand in for the library's
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for its neighbours; last, where it shadows nothing
    spec.loader.exec_module(module)
    return module


def leaf_tasks(pipeline_spec: Any) -> list[str]:
    """Names of the tasks that run a container, in the order they stand, inner DAGs included."""
    names: list[str] = []

    def visit(dag: Any) -> None:
        for task_name, task in _in_order(dag):
            component = pipeline_spec.components[task.component_ref.name]
            if component.HasField("dag"):
                visit(component.dag)
            else:
                names.append(task_name)

    visit(pipeline_spec.root.dag)
    return names


def _in_order(dag: Any) -> list[tuple[str, Any]]:
    """A DAG's tasks, each behind those it depends on."""
    tasks = dict(dag.tasks.items())
    done: list[str] = []

    def place(name: str) -> None:
        if name in done:
            return
        for dependency in sorted(tasks[name].dependent_tasks):
            place(dependency)
        done.append(name)

    for name in sorted(tasks):
        place(name)
    return [(name, tasks[name]) for name in done]
