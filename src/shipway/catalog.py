"""Which components and pipelines there are, read from their folders and docstrings: no registry to keep up to date."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shipway.errors import InvalidSpec, NotFound
from shipway.planning.presets import presets

if TYPE_CHECKING:
    from shipway.planning import Pipeline

_KINDS = {
    "Integer": "int",
    "Float": "float",
    "String": "str",
    "Boolean": "bool",
    "List": "list",
    "Dict": "dict",
    "NUMBER_INTEGER": "int",
    "NUMBER_DOUBLE": "float",
    "STRING": "str",
    "BOOLEAN": "bool",
    "LIST": "list",
    "STRUCT": "dict",
    "TASK_FINAL_STATUS": "final status (given by the exit handler)",
    "TaskConfig": "task settings (given by Kubeflow)",
}


@dataclass(frozen=True)
class Entry:
    """One component (`evaluate.model`) or pipeline (`train_and_deploy`).

    Attributes:
        function: kfp's component object; None of a pipeline that does not load.
        problem: Why it does not.
    """

    kind: Literal["component", "pipeline"]
    name: str
    module: str
    function: Any
    pipeline: Pipeline | None = None
    problem: str = ""

    @property
    def description(self) -> str:
        """First paragraph of the docstring, on one line."""
        text = inspect.getdoc(_python(self.function)) or ""
        return " ".join(text.split("\n\n")[0].split())

    def summary(self) -> dict[str, Any]:
        """Kind, name, what it does; of a pipeline that does not load the `error` in place of that."""
        if self.problem:
            return {"kind": self.kind, "name": self.name, "description": "", "error": self.problem}
        return {"kind": self.kind, "name": self.name, "description": self.description}

    def details(self) -> dict[str, Any]:
        """Everything that `describe` shows."""
        spec = self.function.component_spec
        inputs = spec.inputs or {}
        meanings = _arguments(inspect.getdoc(_python(self.function)) or "")
        return {
            **self.summary(),
            "inputs": [
                {
                    "name": name,
                    "type": _kind(given.type),
                    "required": not given.optional,
                    "default": given.default,
                    "description": meanings.get(name, ""),
                }
                for name, given in inputs.items()
            ],
            "outputs": [
                {"name": name, "type": _kind(given.type), "description": meanings.get(name, "")}
                for name, given in (spec.outputs or {}).items()
            ],
            **self._configuration(),
            "image": _image(spec),
            "import": f"from {self.module.rpartition('.')[0]} import {self.function.python_func.__name__}"
            if self.kind == "component"
            else f"from {self.module} import {self.name}",
        }

    def _configuration(self) -> dict[str, Any]:
        """A pipeline's presets with what each is for, and the fields of each section of its plan."""
        if self.pipeline is None or self.pipeline.plan is None or self.pipeline.folder is None:
            return {"presets": {}, "sections": {}}
        sections = self.pipeline.plan.sections
        return {
            "presets": presets(self.pipeline.folder),
            "sections": {name: list(model.model_fields) for name, model in sections.items()},
        }


def catalog() -> list[Entry]:
    """All pipelines that have a folder, and all shipped components, by name. One that does not load hides no other."""
    from shipway.planning import find_all

    return [*map(_listed, find_all()), *_components()]


def find(name: str) -> Entry:
    """The entry of that name; no other pipeline is loaded.

    Raises:
        NotFound: names the nearest.
        InvalidSpec: it does not load.
    """
    from shipway.planning import find_all

    pipelines = {pipeline.name: pipeline for pipeline in find_all()}
    if name in pipelines:
        return _loaded(pipelines[name])
    components = {entry.name: entry for entry in _components()}
    if name not in components:
        raise NotFound("unknown name", field="describe", given=name, allowed=sorted([*pipelines, *components]))
    return components[name]


def _loaded(pipeline: Pipeline) -> Entry:
    return Entry("pipeline", pipeline.name, pipeline.module_name, pipeline.function, pipeline)


def _listed(pipeline: Pipeline) -> Entry:
    try:
        return _loaded(pipeline)
    except InvalidSpec as error:
        return Entry("pipeline", pipeline.name, pipeline.module_name, None, pipeline, str(error))


def _components() -> list[Entry]:
    """Every kfp component that a room's component.py defines."""
    folder = Path(str(files("shipway"))) / "components"
    entries = []
    for path in sorted(folder.glob("*/component.py")):
        verb = path.parent.name
        module = import_module(f"shipway.components.{verb}.component")
        for name, value in vars(module).items():
            # One object under two names (an alias) is one component.
            if hasattr(value, "python_func") and value.python_func.__name__ == name:
                entries.append(Entry("component", f"{verb}.{name}", module.__name__, value))
    return entries


def _python(function: Any) -> Any:
    return getattr(function, "python_func", None) or getattr(function, "pipeline_func", function)


def _kind(kfp_type: str) -> str:
    return _KINDS.get(kfp_type, kfp_type.removeprefix("system.").partition("@")[0])


def _image(spec: Any) -> str:
    container = getattr(spec.implementation, "container", None)
    return str(container.image) if container is not None else ""


def _arguments(docstring: str) -> dict[str, str]:
    """Names and texts of a Google-style Args section; outputs stand there too."""
    descriptions: dict[str, str] = {}
    name, inside = "", False
    for line in docstring.splitlines():
        if line.strip() == "Args:":
            inside = True
            continue
        if not inside or not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        if indent == 0:
            break
        head, colon, rest = line.strip().partition(":")
        if indent == 4 and colon and head.replace("_", "").isalnum():
            name = head
            descriptions[name] = rest.strip()
        elif name:
            descriptions[name] += f" {line.strip()}"
    return descriptions
