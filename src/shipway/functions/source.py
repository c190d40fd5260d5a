"""A function's source with all that it needs, as a module that runs elsewhere; what cannot travel is named.

The function, the functions and classes of the same notebook or file that it uses, the imports behind the names, and
plain values by their names. Nothing is pickled: what runs elsewhere can be read.
"""

from __future__ import annotations
import __future__

import builtins
import inspect
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, itemgetter
from types import FunctionType, ModuleType
from typing import Any

from shipway.code.checking import contents
from shipway.errors import InvalidSpec, nearest
from shipway.functions.callables import plain_function, where_of
from shipway.functions.declared import Declared, declared
from shipway.functions.names import Names, names_of
from shipway.functions.needs import Needs
from shipway.functions.pieces import Piece, assigned, piece_of
from shipway.functions.values import written

SAME = ("shipway", "tensorflow", "tensorflow-cpu")  # in the images under one of these names


@dataclass(frozen=True)
class Source:
    """What travels.

    Attributes:
        name: The function's.
        module: Of the file that holds it.
        files: Relative path -> text.
        requirements: Distribution -> version here, of all that is imported.
        where: File or cell and line, for messages.
    """

    name: str
    module: str
    files: dict[str, str]
    requirements: dict[str, str]
    where: str

    @property
    def reference(self) -> str:
        """`module:function`, as it is found where the files lie on Python's path."""
        return f"{self.module}:{self.name}"

    @property
    def text(self) -> str:
        """The function's own file."""
        return self.files[f"{self.module}.py"]

    @property
    def declared(self) -> Declared:
        """Its parameters and metrics."""
        declaration = declared(self.text, self.name, self.where)
        assert declaration is not None
        return declaration

    def check_image(self) -> None:
        """Refuses what the shipped images lack.

        Raises:
            InvalidSpec: names the distributions.
        """
        known = contents()
        lacking = [name for name in self.requirements if name not in known and name not in SAME]
        if lacking:
            raise InvalidSpec(
                (
                    f"{self.name} imports {', '.join(lacking)}, which the images of trials and replicas "
                    "do not have; do without, run it here, or name an image that has it: "
                    'overrides={"training": {"image": ...}}'
                ),
                field=self.where,
            )


def extract(function: Callable[..., Any]) -> Source:
    """A function as source that stands alone.

    Raises:
        InvalidSpec: names file, line and name of what cannot travel, and what to do instead.
    """
    plain = plain_function(function)
    collector = _Collector(plain)
    collector.define(plain.__name__, plain)
    collector.needs.tell()
    module = f"own_{plain.__name__}"
    return Source(
        name=plain.__name__,
        module=module,
        files={**collector.needs.own, f"{module}.py": collector.text()},
        requirements=dict(sorted(collector.needs.requirements.items())),
        where=where_of(plain),
    )


@dataclass
class _Collector:
    """Follows names from one function to all that it needs."""

    root: FunctionType
    imports: dict[str, str] = field(default_factory=dict)  # name -> statement
    values: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)  # in the order in which they must run
    needs: Needs = field(default_factory=Needs)
    _seen: set[str] = field(default_factory=set)

    @property
    def problems(self) -> list[str]:
        return self.needs.problems

    @property
    def namespace(self) -> dict[str, Any]:
        return self.root.__globals__

    def text(self) -> str:
        """The module."""
        future = "from __future__ import annotations" if self._has_future() else ""
        blocks = [future, "\n".join(sorted(self.imports.values())), "\n".join(self.values.values())]
        text = "\n\n".join(block for block in blocks if block) + "\n"
        return text + "".join(f"\n\n{definition}\n" for definition in self.definitions.values())

    def _has_future(self) -> bool:
        return bool(self.root.__code__.co_flags & __future__.annotations.compiler_flag)

    def define(self, name: str, thing: Any) -> None:
        """Takes over a function or class of the same notebook or file, after all that it uses."""
        if name in self._seen:
            return
        self._seen.add(name)
        plain = inspect.unwrap(thing)
        piece, own = piece_of(plain), plain.__name__
        if piece is None or (plain is not thing and not piece.is_decorated):
            piece, own = assigned(name, self.root.__code__.co_filename), name
        if piece is None:
            kind = "class" if isinstance(plain, type) else "function"
            self.problems.append(
                f"{name}: the {kind} has no source that could be read; define it in a cell or a file, not by exec or "
                "in a console"
            )
            return
        closed = [each for each in getattr(getattr(plain, "__code__", None), "co_freevars", ()) if each != "__class__"]
        for each in closed:
            self.problems.append(
                f"{piece.at(1)}: {name} closes over {each!r} of the function around it, which cannot travel; define "
                f"{name} at the top level and pass {each} as a parameter"
            )
        self._take(name, piece, own, closed)

    def _take(self, name: str, piece: Piece, own: str, closed: Collection[str] = ()) -> None:
        """Takes over a piece of source that defines a name, after all that it uses.

        Args:
            name: As it is used here.
            piece: Its statement.
            own: The name that the statement gives it.
            closed: Variables of a function around it, told already.
        """
        names = names_of(piece.text, own)
        for each, line in names.written.items():
            self.problems.append(
                f"{piece.at(line)}: {name} assigns the global {each!r}, which no other process would see; return it"
            )
        for line in names.relative:
            self.problems.append(f"{piece.at(line)}: {name} imports relatively; name the package in full")
        for module, line in names.imported:
            self.needs.add(module, f"{piece.at(line)}: {name}")
        for each, line in names.read.items():
            if each not in closed and each not in names.written:
                is_needed = each not in names.noted or not self._has_future()
                self._resolve(each, names, f"{piece.at(line)}: {name}", is_needed)
        alias = "" if name == own else f"\n\n\n{name} = {own}"
        self.definitions[name] = piece.text.rstrip() + alias

    def _resolve(self, name: str, names: Names, where: str, is_needed: bool = True) -> None:
        """Finds what stands behind a name; one that is not needed may stay unknown: nothing reads it."""
        if name in self._seen or name in self.imports or name in self.values:
            if name in self.imports:
                self._submodules(name, names, where)
            return
        if name not in self.namespace:
            if not hasattr(builtins, name):
                if is_needed:
                    self.problems.append(
                        f"{where} uses {name!r}, which is not defined{nearest(name, self.namespace)}; define or "
                        "import it"
                    )
            elif not _is_pythons(name):
                self._import_object(name, getattr(builtins, name), where)
            return
        value = self.namespace[name]
        if name == "get_ipython":
            self.problems.append(
                f"{where} uses a ! or % of the notebook, which only a notebook has; write it in Python"
            )
        elif isinstance(value, ModuleType):
            self._import_module(name, value, names, where)
        elif self._is_of_the_same_kind(value):
            self.define(name, value)
        elif not self._write(name, value, where):
            self._import_object(name, value, where, is_needed)

    def _write(self, name: str, value: Any, where: str) -> bool:
        """Writes a value down, behind the classes that it is made of; False where it has no such source."""
        if _is_a_definition(value) and _importable(name, value, self.namespace) is None:
            piece = assigned(name, self.root.__code__.co_filename)
            if piece is not None:
                self._seen.add(name)
                self._take(name, piece, name)
            return piece is not None
        source = written(value)
        if source is None or any(self.namespace.get(each, kind) is not kind for each, kind in source.classes.items()):
            return False
        for each, kind in source.classes.items():
            if self._is_of_the_same_kind(kind):
                self.define(each, kind)
            else:
                self._import_object(each, kind, where)
        for statement in source.imports:
            self.imports[statement] = statement
            self.needs.add(statement.split()[1], where)
        into = self.definitions if source.classes else self.values
        into[name] = f"{name} = {source.text}"
        return True

    def _is_of_the_same_kind(self, value: Any) -> bool:
        """Whether it is a function or class of the notebook or file that the function stands in."""
        plain = inspect.unwrap(value) if callable(value) else value
        if isinstance(plain, FunctionType):
            return plain.__globals__ is self.namespace
        return isinstance(plain, type) and plain.__module__ == self.namespace.get("__name__")

    def _import_module(self, name: str, module: ModuleType, names: Names, where: str) -> None:
        full = module.__name__
        if full == "__main__":
            self.problems.append(f"{where} uses the module __main__, which is another one elsewhere")
            return
        self.imports[name] = f"import {full}" if name == full else f"import {full} as {name}"
        self.needs.add(full, where)
        self._submodules(name, names, where)

    def _submodules(self, name: str, names: Names, where: str) -> None:
        """`sklearn.datasets` must be imported by its own name where only `import sklearn` stands before it."""
        module = self.namespace.get(name)
        for chain in sorted(names.chains):
            below, full = module, getattr(module, "__name__", "")
            for part in chain.split(".")[1:] if chain.split(".")[0] == name else []:
                below, full = getattr(below, part, None), f"{full}.{part}"
                spec = getattr(below, "__spec__", None)
                if not isinstance(below, ModuleType) or spec is None or spec.name != full:
                    break
                self.imports[full] = f"import {full}" if name == full.partition(".")[0] else f"import {full} as _"

    def _import_object(self, name: str, value: Any, where: str, is_needed: bool = True) -> None:
        place = _importable(name, value, self.namespace)
        if place is None:
            if is_needed:
                self.problems.append(
                    f"{where} uses the global {name!r}, of type {type(value).__name__}, which is no import, no small "
                    "plain value and no function of the same notebook or file; make it inside the function, or pass "
                    "it as a parameter (a table: write it to a file, and read that inside)"
                )
            return
        module, attribute = place
        self.imports[name] = f"from {module} import {attribute}" + ("" if attribute == name else f" as {name}")
        self.needs.add(module, where)


def _is_a_definition(value: Any) -> bool:
    """Whether it is made once and never changes, so that its own statement makes an equal one elsewhere."""
    made_by = type(value).__module__
    return made_by in ("typing", "types") or isinstance(value, re.Pattern | partial | attrgetter | itemgetter)


def _is_pythons(name: str) -> bool:
    """Whether Python brings the builtin, and not a notebook."""
    value = getattr(builtins, name)
    return getattr(value, "__module__", "builtins") in ("builtins", "io", "_sitebuiltins", None)


def _importable(name: str, value: Any, here: dict[str, Any]) -> tuple[str, str] | None:
    """(module, name) by which another process finds the very object; None where only the module of names `here` has
    it, under whatever name that is loaded."""
    for attribute in dict.fromkeys([getattr(value, "__qualname__", None), getattr(value, "__name__", None), name]):
        if not isinstance(attribute, str) or not attribute.isidentifier():
            continue
        own = getattr(value, "__module__", None)
        for module in [own] if isinstance(own, str) else list(sys.modules):
            # Read from its dict: a lazy module would import what it is asked for.
            names = vars(sys.modules[module]) if module in sys.modules else here
            if names is not here and names.get(attribute) is value and module != "__main__":
                return module, attribute
    return None
