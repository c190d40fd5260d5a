"""What a wheel says of itself, and whether it fits here (PEP 427, 425, 508)."""

from __future__ import annotations

import platform
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from shipway.errors import InvalidSpec


@dataclass(frozen=True)
class Wheel:
    """A wheel's own words.

    Attributes:
        path: Where it lies on this machine.
        name: Of the distribution, normalised.
    """

    path: Path
    name: str
    version: Version


def read_wheel(path: Path, name: str = "") -> Wheel:
    """The wheel, if it is one and fits this Python and platform.

    Args:
        path: The file.
        name: What it is called; default the file's own name.

    Raises:
        InvalidSpec: it is damaged or no wheel, or for another Python or platform.
    """
    name = name or path.name
    try:
        project, version, _, tags = parse_wheel_filename(name)
    except InvalidWheelFilename as error:
        raise InvalidSpec(
            f"{name!r} is not named as a wheel is ({error})",
            field="code",
            given=name,
            fix="keep the name that it was built with",
        ) from None
    here = list(sys_tags())
    if not tags & set(here):
        given = ", ".join(sorted(map(str, tags)))
        raise InvalidSpec(f"{name} is for {given}, and here is {here[0]}; build or download it for that", field="code")
    metadata = _metadata(path, name)
    try:
        python = SpecifierSet(metadata.get("Requires-Python") or "")
    except InvalidSpecifier as error:
        raise InvalidSpec(f"{name}: its METADATA cannot be read: {str(error).splitlines()[0]}", field="code") from None
    if not python.contains(platform.python_version(), prereleases=True):
        raise InvalidSpec(f"{name} is for Python {python}, and here is {platform.python_version()}", field="code")
    return Wheel(path, canonicalize_name(project), version)


def read_wheels(paths: Iterable[Path]) -> list[Wheel]:
    """The wheels, each of another distribution.

    Raises:
        InvalidSpec: one is none or does not fit, or two are of one distribution.
    """
    by_name: dict[str, Wheel] = {}
    for wheel in map(read_wheel, paths):
        other = by_name.setdefault(wheel.name, wheel)
        if other is not wheel:
            raise InvalidSpec(
                f"{other.path.name} and {wheel.path.name} are of one distribution", field="code", fix="remove one"
            )
    return list(by_name.values())


def _metadata(path: Path, name: str) -> Message:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [each for each in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", each)]
            if len(entries) != 1:
                raise InvalidSpec(f"{name} is no wheel: it holds no *.dist-info/METADATA", field="code")
            if any(each.startswith("__editable__") for each in archive.namelist()):
                raise InvalidSpec(
                    f"{name} is an editable wheel, which only points at a folder of the machine that built "
                    "it; build one: pip wheel --no-deps -w dist .",
                    field="code",
                )
            return BytesParser().parsebytes(archive.read(entries[0]))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise InvalidSpec(f"{name} is no wheel, or damaged: {error}", field="code") from None
