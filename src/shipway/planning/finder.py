"""Finds a pipeline by the name that a person typed, wherever it comes from.

A pipeline's folder holds `pipeline.py` (a function called as the folder), `plan.py` and `params/` where it has a plan,
and whatever else it needs. Folders are looked for in the package, in the folders that SHIPWAY_PIPELINES names, and
among the packages that installed distributions name as entry points. A bare function goes by its file or module.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from shipway import modules
from shipway.errors import InvalidSpec, NotFound
from shipway.planning.base import Plan
from shipway.planning.sources import folder_fingerprint

PIPELINES = "SHIPWAY_PIPELINES"  # folders that hold pipelines' folders, as PATH does
GROUP = "shipway.pipelines"  # entry points: name = the package that is the pipeline's folder


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that was found; nothing of it is imported before it is asked for.

    Attributes:
        name: As it was typed.
        reference: As another process finds it: its name, `/absolute/file.py:function`, `package.module:function`.
        package: Module of its folder; empty for a bare function.
        path: Its folder; None for a bare function, and where the package alone knows.
        place: Where it was found, for messages.
    """

    name: str
    reference: str
    package: str = ""
    path: Path | None = None
    place: str = ""

    @property
    def function_name(self) -> str:
        """Of the function that kfp compiles."""
        return self.name if self.package else self.reference.rpartition(":")[2]

    @property
    def module_name(self) -> str:
        """Where that function stands: a module's name, or a file."""
        return f"{self.package}.pipeline" if self.package else self.reference.rpartition(":")[0]

    @cached_property
    def folder(self) -> Path | None:
        """Its folder; None for a bare function."""
        if self.package and self.path is None:
            return Path(next(iter(self._load(self.package).__path__)))
        return self.path

    @cached_property
    def function(self) -> Any:
        """The pipeline function, a kfp GraphComponent.

        Raises:
            InvalidSpec: the module does not import, or the name is no pipeline.
        """
        from shipway.local.light import import_kfp

        import_kfp()
        module = self._load(self.module_name)
        attribute = getattr(module, self.function_name, None)
        if attribute is None or not hasattr(attribute, "pipeline_spec"):
            names = [key for key, value in vars(module).items() if hasattr(value, "pipeline_spec")]
            raise InvalidSpec(
                f"{self._shown(self.module_name)} has no pipeline",
                field="pipeline",
                given=self.function_name,
                allowed=names,
                fix="" if names else "it has none",
            )
        called = self.name.replace("_", "-")
        if self.package and attribute.name != called:
            raise InvalidSpec(
                f"{self._shown(self.module_name)}: kfp calls it",
                field="pipeline",
                given=attribute.name,
                allowed=f"{called!r}, as its folder, by which Kubeflow's versions find their plan here",
            )
        return attribute

    @cached_property
    def plan(self) -> Plan | None:
        """What there is to configure; None for a bare function, and for a folder without `plan.py`.

        Raises:
            InvalidSpec: `plan.py` does not import, holds no plan, or one that names what it has not.
        """
        if self.folder is None or not (self.folder / "plan.py").is_file():
            return None
        attribute = getattr(self.module("plan"), "plan", None)
        if not isinstance(attribute, Plan) or not attribute.sections:
            raise InvalidSpec(
                field=f"pipeline: {self.folder / 'plan.py'}", allowed="`plan`, a shipway.planning.Plan with sections"
            )
        attribute.check_names(self.folder / "plan.py")
        return attribute

    @property
    def code_fingerprint(self) -> str:
        """Hash over its own files; empty for a function of a module."""
        source = self.folder or (Path(self.module_name) if self.module_name.endswith(".py") else None)
        return folder_fingerprint(source) if source else ""

    def module(self, name: str) -> ModuleType:
        """A module of its folder, `work` for `work.py`: how a component's body reaches code beside it.

        Raises:
            InvalidSpec: it does not import.
        """
        return self._load(f"{self.package}.{name}")

    def _load(self, name: str) -> ModuleType:
        try:
            if self.path is not None:
                _make_package(self.package, self.path)
            if self.package:
                return import_module(name)
            return _load_file(Path(name)) if name.endswith(".py") else cast(ModuleType, modules.load(name))
        except (Exception, SystemExit) as error:
            raise InvalidSpec(
                f"{self._shown(name)} does not import: {type(error).__name__}: {error}", field="pipeline"
            ) from error

    def _shown(self, name: str) -> str:
        """A folder's module by its path: nobody knows the name that we gave it."""
        return f"{self.path / name.rpartition('.')[2]}.py" if self.path is not None else name


def find(name: str) -> Pipeline:
    """The pipeline of that name.

    Args:
        name: A pipeline's folder, `package.module:function`, or `file.py[:function]`.

    Raises:
        NotFound: nothing of that name; names the nearest.
        InvalidSpec: no name of a function, or two pipelines of one name.
    """
    if ":" not in name and not name.endswith(".py"):
        known = {pipeline.name: pipeline for pipeline in find_all()}
        if name not in known:
            raise NotFound(
                "unknown pipeline",
                field="pipeline",
                given=name,
                allowed=(*known, "file.py:function", "package.module:function"),
            )
        return known[name]
    module, _, function = name.partition(":")
    if not module.endswith(".py"):
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", name):
            raise InvalidSpec(field="pipeline", given=name, allowed=("file.py:function", "package.module:function"))
        return Pipeline(name, name)
    path = Path(module).absolute()
    if not path.is_file():
        raise NotFound("no file", field="pipeline", given=module)
    return Pipeline(name, f"{path}:{function or path.stem}")


def find_all() -> list[Pipeline]:
    """All pipelines that have a folder, by name.

    Raises:
        InvalidSpec: two of one name, with both places; a folder that is not there, or whose name is no function's.
    """
    by_name: dict[str, Pipeline] = {}
    for pipeline in [*_shipped(), *_of_environment(), *_of_distributions()]:
        other = by_name.setdefault(pipeline.name, pipeline)
        if other is not pipeline:
            raise InvalidSpec(
                f"two are called {pipeline.name!r}: {other.place}, and {pipeline.place}",
                field="pipeline",
                given=pipeline.name,
                fix=f"rename one, or take it out of {PIPELINES}",
            )
    return sorted(by_name.values(), key=lambda pipeline: pipeline.name)


def pipeline_folders() -> list[Path]:
    """The folders that SHIPWAY_PIPELINES names, each once, absolute. An empty entry is none: not where you work.

    Raises:
        InvalidSpec: one is not there.
    """
    named = filter(None, os.environ.get(PIPELINES, "").split(os.pathsep))
    folders = list(dict.fromkeys(Path(each).expanduser().resolve() for each in named))
    for folder in folders:
        if not folder.is_dir():
            raise InvalidSpec(
                f"no folder {str(folder)!r}; it names folders that hold <name>/pipeline.py",
                field=PIPELINES,
                given=str(folder),
            )
        if (folder / "pipeline.py").is_file():
            raise InvalidSpec(
                f"{str(folder)!r} is a pipeline's own folder", field=PIPELINES, given=str(folder),
                fix=f"name the folder that holds it, {str(folder.parent)!r}",
            )  # fmt: skip
    return folders


def _shipped() -> list[Pipeline]:
    folders = _inside(Path(str(files("shipway"))) / "pipelines")
    return [
        Pipeline(path.name, path.name, f"shipway.pipelines.{path.name}", place=f"the shipped one ({path})")
        for path in folders
    ]


def _of_environment() -> list[Pipeline]:
    pipelines = []
    for path in (path for folder in pipeline_folders() for path in _inside(folder)):
        if not path.name.isidentifier():
            raise InvalidSpec(
                f"{path}: a pipeline's folder is called as its function: letters, digits and underscores",
                field=PIPELINES,
            )
        # A name of its own: no module of the folder can stand in for another of that name.
        package = f"shipway_pipeline_{path.name}_{sha256(str(path).encode()).hexdigest()[:8]}"
        pipelines.append(Pipeline(path.name, path.name, package, path, place=f"{path} ({PIPELINES})"))
    return pipelines


def _of_distributions() -> list[Pipeline]:
    from importlib.metadata import entry_points

    return [
        Pipeline(
            entry.name, entry.name, entry.module,
            place=f"{entry.module} of {entry.dist.name if entry.dist else 'a distribution'} (entry point of {GROUP})",
        )
        for entry in entry_points(group=GROUP)
    ]  # fmt: skip


def _inside(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/pipeline.py"))


def _make_package(name: str, folder: Path) -> None:
    """Makes a folder outside the package one, under that name; its own `__init__.py` is read where it has one."""
    if name in sys.modules:
        return
    own = folder / "__init__.py"
    spec = spec_from_file_location(name, own) if own.is_file() else ModuleSpec(name, None, is_package=True)
    assert spec is not None
    spec.submodule_search_locations = [str(folder)]
    sys.modules[name] = module = module_from_spec(spec)
    if spec.loader is not None:
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise


def _load_file(path: Path) -> ModuleType:
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
