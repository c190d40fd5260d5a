"""What imports stand for: the standard library, an installed distribution, a person's own file, or nothing at all."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import files, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from shipway import modules
from shipway.errors import InvalidSpec
from shipway.functions.names import names_of

MOST_OWN_BYTES = 2 << 20  # of a person's own modules: source travels, data do not
MOST_TOLD = 3  # problems in one message


def kind_of(module: str, beside: Path | None = None) -> str:
    """`standard`, `installed`, `own` or `missing`: where a module's top package comes from, seen from here.

    Args:
        module: Its name.
        beside: A folder whose modules are found too: that of a file which is not imported here.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return "standard"
    if _beside(top, beside) is not None:
        return "own"
    place = place_of(top)
    if place is None:
        return "missing"
    if top == "shipway":
        return "installed"
    # The very folder that it was found in: a person's own may hold their environment, too.
    return "own" if str(place.parent) in modules.own_folders() else "installed"


def place_of(top: str) -> Path | None:
    """A top module's file, or its package's folder; None where there is none."""
    loaded = sys.modules.get(top)
    try:
        spec = loaded.__spec__ if loaded is not None and loaded.__spec__ is not None else find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).absolute()
    return Path(spec.origin).absolute() if spec.origin and spec.origin not in ("built-in", "frozen") else Path("/")


def _beside(top: str, folder: Path | None) -> Path | None:
    if folder is not None and (folder / top / "__init__.py").is_file():
        return folder / top
    return folder / f"{top}.py" if folder is not None and (folder / f"{top}.py").is_file() else None


def own_files(top: str, beside: Path | None = None) -> dict[str, str]:
    """A person's own module as it travels: relative path -> source.

    Raises:
        InvalidSpec: more source than a function may bring, or a file that is no text.
    """
    place = _beside(top, beside) or place_of(top)
    assert place is not None
    paths = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    if place.suffix not in ("", ".py"):
        raise InvalidSpec(
            "a compiled module cannot travel", field=place, fix="put it into a wheel and the wheel into `code`"
        )
    size = sum(path.stat().st_size for path in paths)
    if size > MOST_OWN_BYTES:
        raise InvalidSpec(
            f"{size:,} bytes of source, at most {MOST_OWN_BYTES:,} travel with a function",
            field=place,
            fix="install it where trials run",
        )
    try:
        return {str(path.relative_to(place.parent)): path.read_text(encoding="utf-8-sig") for path in paths}
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"source that is not UTF-8 cannot travel: {error}", field=place) from error


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions_of(module: str) -> dict[str, str]:
    """The distributions that a module comes from, with their versions."""
    names = sorted(set(_distributions().get(module.partition(".")[0], [])))
    if len(names) > 1:  # many distributions bring `google`: only those that hold this module count
        path = module.replace(".", "/")
        names = [each for each in names if any(str(file).startswith(path) for file in files(each) or [])] or names
    return {plain_name(name): version(name) for name in names}


def plain_name(distribution_name: str) -> str:
    """A distribution's name as indexes normalise it."""
    return re.sub(r"[-_.]+", "-", distribution_name).lower()


@dataclass
class Needs:
    """What imports need where the code will run, gathered import by import.

    Attributes:
        beside: Folder of a file that is not imported here, whose neighbours travel with it.
        own: Files of a person's own modules, relative path -> source.
        requirements: Distribution -> version here.
        problems: A clause each.
    """

    beside: Path | None = None
    own: dict[str, str] = field(default_factory=dict)
    requirements: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def add(self, module: str, where: str) -> None:
        """Notes an import.

        Args:
            module: What is imported.
            where: File, line and who imports it.
        """
        top = module.partition(".")[0]
        kind = kind_of(module, self.beside)
        if kind == "missing":
            self.problems.append(
                f"{where} imports {module!r}, which is not installed here; pip install {top}, or take the import out"
            )
        elif kind == "installed":
            self.requirements |= distributions_of(module)
        elif kind == "own" and top not in self._seen:
            self._seen.add(top)
            files = own_files(top, self.beside)
            self.own |= files
            for path, text in files.items():
                self.add_file(path, text)

    def add_file(self, path: str, text: str) -> None:
        """Notes the imports of a whole file."""
        try:
            names = names_of(text)
        except SyntaxError as error:
            self.problems.append(f"{path}:{error.lineno}: {error.msg}")
            return
        for module, line in names.imported:
            self.add(module, f"{path}:{line}: the module")
        for line in names.relative if "/" not in path else ():
            self.problems.append(f"{path}:{line}: the module imports relatively, and is in no package; import by name")

    def tell(self) -> None:
        """Raises InvalidSpec with the first problems."""
        if self.problems:
            more = len(self.problems) - MOST_TOLD
            told = "; ".join(self.problems[:MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
            raise InvalidSpec(told)
