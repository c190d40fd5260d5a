"""What is known of code before anything is launched: the modules that it holds, and what its wheels need."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distributions
from importlib.resources import files
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from shipway import modules
from shipway.code.packing import BUILD, PACKED
from shipway.code.reference import CodeRef
from shipway.code.unpacking import top_modules
from shipway.errors import InvalidSpec

CONTENTS = "contents.json"  # what the images have: distribution -> version (`python -m tools.images lock` writes it)


def check_code(code: str, named: Iterable[str] = (), where: str = "code") -> None:
    """Refuses code in use that would fail later, in a step or on another machine.

    Args:
        code: `ADDRESS#sha256=HASH`.
        named: What is loaded of it, each `package.module:name`.
        where: The field, for messages.

    Raises:
        InvalidSpec: it lacks a module that is named; a wheel needs what is neither beside it nor in the images, or
            brings what they have in another version; or nothing of it is named.
    """
    folder = modules.code_in_use()
    name, held = CodeRef.parse(code, where).name, top_modules(Path(folder))
    told = "it" if name == PACKED else name  # packing dropped the name of the person's folder
    wanted = {name.partition(":")[0].partition(".")[0] for name in named}
    if not wanted:
        raise InvalidSpec(
            f"{told} holds nothing that is named",
            field=where,
            fix=f"give recipe={held[0] if held else 'module'}:NAME too",
        )
    for top in sorted(wanted):
        if top not in held and not _is_installed(top, folder):
            raise InvalidSpec(
                f"{told} holds no module {top!r}, which is named",
                field=where,
                given=top,
                allowed=held,
                fix=_hint(Path(folder)),
            )
    in_images = contents()
    brought = {str(canonicalize_name(each.name)): each for each in distributions(path=[folder]) if each.name}
    for name, distribution in brought.items():
        if not _tops(distribution) & wanted:  # what is named comes from the code, whatever is installed
            _check_conflict(where, told, name, distribution.version, folder, in_images)
    extras = _extras(brought)
    for name, distribution in brought.items():
        for need in _needs(distribution, extras.get(name, {""})):
            _check_need(distribution, need, brought, folder, in_images)


def _check_conflict(where: str, told: str, name: str, version: str, folder: str, in_images: dict[str, str]) -> None:
    """What is installed comes first: another version of it in the code would be there and never be used."""
    has = in_images.get(name)
    here = _version_here(name, folder)
    if has not in (None, version):
        raise InvalidSpec(
            f"{told} brings {name} {version}, and the images have {has}, which comes first",
            field=where,
            fix=f"leave it out, or use {name}=={has}",
        )
    if has is None and here not in (None, version):
        raise InvalidSpec(
            f"{told} brings {name} {version}, and {here} is installed here, which comes first",
            field=where,
            fix=f"uninstall it here, or bring {name}=={here}",
        )


def _check_need(
    of: Distribution, need: Requirement, brought: dict[str, Distribution], folder: str, in_images: dict[str, str]
) -> None:
    name = str(canonicalize_name(need.name))
    beside = brought[name].version if name in brought else None
    version = beside or in_images.get(name) or _version_here(name, folder)
    if version is None:
        raise InvalidSpec(
            f"{of.name} {of.version} needs {need}, which is neither beside it nor in the images",
            field="code",
            fix=f"put its wheel into one folder with yours and give that: pip wheel -w dist '{need}'",
        )
    if not need.specifier.contains(version, prereleases=True):
        place = "beside it is" if beside else "the images have" if name in in_images else "here is"
        raise InvalidSpec(
            f"{of.name} {of.version} needs {need}, and {place} {name} {version}", field="code", fix="change one of them"
        )


def _needs(distribution: Distribution, extras: Iterable[str]) -> list[Requirement]:
    """What a distribution needs here, with extras of it that others ask for."""
    try:
        needs = [Requirement(line) for line in distribution.requires or ()]
    except InvalidRequirement as error:
        told = str(error).splitlines()[0]
        raise InvalidSpec(
            f"{distribution.name} {distribution.version}: its METADATA: {told}; build it again", field="code"
        ) from None
    return [need for need in needs if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras)]


def _extras(brought: Mapping[str, Distribution]) -> dict[str, set[str]]:
    """Extras that distributions ask of each other; "" is the distribution itself."""
    extras: dict[str, set[str]] = {}
    for distribution in brought.values():
        for need in _needs(distribution, [""]):
            extras.setdefault(str(canonicalize_name(need.name)), {""}).update(need.extras)
    return extras


def contents() -> dict[str, str]:
    """Distributions of all our images; one lock makes their versions equal."""
    names: dict[str, str] = json.loads((files("shipway.code") / CONTENTS).read_text(encoding="utf-8"))
    return names


def _version_here(name: str, folder: str) -> str | None:
    places = [path for path in sys.path if path != folder]
    return next((each.version for each in Distribution.discover(name=name, path=places)), None)


def _is_installed(top: str, folder: str) -> bool:
    own: Collection[str] = {folder, *modules.own_folders()}
    return PathFinder.find_spec(top, [path for path in sys.path if path not in own]) is not None


def _tops(distribution: Distribution) -> set[str]:
    """Modules of a distribution; by its name where it has no RECORD."""
    names = {str(file).partition("/")[0].removesuffix(".py") for file in distribution.files or ()}
    return names or {distribution.name.replace("-", "_")}


def _hint(folder: Path) -> str:
    """A folder of a project that keeps its package below."""
    if (folder / "pyproject.toml").exists() or (folder / "setup.py").exists():
        return f"it is a project: build its wheel and give that, {BUILD}"
    below = {path.parts[len(folder.parts)] for path in folder.glob("*/*/__init__.py")}
    return f"if its modules lie one folder below, give that folder ({', '.join(sorted(below)[:3])})" if below else ""
