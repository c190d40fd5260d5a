"""Which environment of this machine stands for a container image."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from shipway import images
from shipway.errors import InvalidSpec

VARIABLE = "SHIPWAY_ENVIRONMENTS"


def environments() -> dict[str, Path]:
    """Image to interpreter.

    By default this interpreter stands for each of Shipway's images. SHIPWAY_ENVIRONMENTS, JSON or the path of a JSON
    file, adds to that or replaces it: `{"registry/image:tag": "/opt/env/bin/python"}`; an environment's folder or its
    `bin` will do.
    """
    known = {image: Path(sys.executable) for image in images.ALL.values()}
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return known
    if not text.startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise InvalidSpec(
                f"{text}: {error.strerror}", field=VARIABLE, allowed="JSON or the path of a JSON file"
            ) from error
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InvalidSpec(f"not JSON ({error})", field=VARIABLE, allowed="{image: path of an interpreter}") from error
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise InvalidSpec(field=VARIABLE, given=text, allowed="{image: path of an interpreter}")
    return known | {image: _interpreter(image, path) for image, path in given.items()}


def _interpreter(image: str, path: str) -> Path:
    for candidate in (Path(path), Path(path) / "python", Path(path) / "bin" / "python"):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()  # the link is kept: resolved, it is the base interpreter
    raise InvalidSpec(f"no interpreter at {path}, {path}/python or {path}/bin/python", field=f"{VARIABLE}[{image!r}]")


def environment_of(image: str, known: Mapping[str, Path], where: str) -> Path:
    """The interpreter that stands for an image.

    The exact reference first; then the same name under another registry, tag or digest, which is what
    `compile --registry --digest` leaves in a manifest.

    Raises:
        InvalidSpec: no environment is known for it.
    """
    if image in known:
        return known[image]
    short = {_short(name): path for name, path in known.items()}
    if _short(image) in short:
        return short[_short(image)]
    raise InvalidSpec(
        "no environment of this machine stands for image",
        field=where,
        given=image,
        allowed=sorted(known),
        fix=f"name it in {VARIABLE}",
    )


def _short(image: str) -> str:
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


def resolve_command(argv: list[str], python: Path) -> list[str]:
    """The command with its first word as a path where one exists; the environment's own programs come first."""
    word = argv[0]
    if word in ("python", "python3", f"python{sys.version_info.major}.{sys.version_info.minor}"):
        return [str(python), *argv[1:]]
    program = shutil.which(word, path=f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    return [program or word, *argv[1:]]
