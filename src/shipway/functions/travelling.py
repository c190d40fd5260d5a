"""A function on its way: packed by its hash, with the versions it was written against and where it comes from."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shipway.canonical import sha256_hex
from shipway.code import CodeRef, install, pin
from shipway.code.installing import code_folder
from shipway.errors import InvalidSpec, NotFound, nearest
from shipway.functions.declared import Declared, declared
from shipway.functions.names import functions_in
from shipway.functions.needs import Needs
from shipway.functions.pieces import shell
from shipway.functions.source import Source
from shipway.images import VERSION

FILE = re.compile(r"(?P<path>.+\.py):(?P<name>\w+)")
_GIT_S = 5.0


def of_file(path: Path, name: str) -> Source:
    """A function of a file that is not imported here; the file travels as it is, with its neighbours that it imports.

    Raises:
        NotFound: no such file, or no such function in it.
        InvalidSpec: it does not parse, or imports what is not installed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"function: no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"function: {path}: cannot be read: {error}") from error
    if declared(text, name, path.name) is None:
        names = functions_in(text)
        raise NotFound(
            f"function: {path} has no function {name!r}; it has {', '.join(names) or 'none'}{nearest(name, names)}"
        )
    needs = Needs(beside=path.parent)
    needs.add_file(path.name, text)
    needs.tell()
    return Source(name, path.stem, {**needs.own, path.name: text}, needs.requirements, path.name)


def pack(source: Source) -> str:
    """The function's files as `code`, `ADDRESS#sha256=HASH`; written to the store when a run starts.

    Beside them stands a `requirements.txt`: the versions here of what they import, so that another version is another
    experiment.
    """
    with tempfile.TemporaryDirectory(prefix="shipway-function-") as name:
        folder = Path(name)
        pinned = "".join(f"{each}=={version}\n" for each, version in source.requirements.items())
        for path, text in {**source.files, "requirements.txt": pinned}.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        return pin(name)


def take_along(params: dict[str, Any]) -> dict[str, Any]:
    """A pipeline's parameters `function` and `code` as they travel: `file.py:name` is packed."""
    found = FILE.fullmatch(str(params.get("function", "")))
    if found is None:
        return params
    if params.get("code"):
        raise InvalidSpec(
            f"code: with function={params['function']!r} the file itself is the code; give `module:name` of the code, "
            "or leave code out"
        )
    source = of_file(Path(found["path"]).expanduser(), found["name"])
    return {**params, "function": source.reference, "code": pack(source), "origin": origin(source)}


def declared_by(reference: str, code: str) -> Declared | None:
    """What a function says of itself, without importing it; None where its source is not to be found.

    Args:
        reference: `module:name`.
        code: Where it lies; empty where it is installed.
    """
    module, _, name = reference.partition(":")
    path = None
    if code:
        path = install(CodeRef.parse(code), code_folder()) / Path(*module.split(".")).with_suffix(".py")
        if not path.is_file():
            path = path.with_suffix("") / "__init__.py"
    elif "." not in module:
        spec = find_spec(module) if module else None
        path = Path(spec.origin) if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        return None
    return declared(path.read_text(encoding="utf-8"), name, path.name)


def origin(source: Source, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Where a function comes from, for a person who asks later: versions, notebook, commit."""
    found: dict[str, Any] = {
        "function": source.name,
        "from": source.where,
        "shipway": VERSION,
        "python": platform.python_version(),
        "packages": dict(source.requirements),
        **_commit(),
    }
    if shell() is not None:
        found["notebook"] = _notebook(namespace or {})
    elif sys.argv and sys.argv[0]:
        found["started_from"] = Path(sys.argv[0]).name
    return found


def _notebook(namespace: dict[str, Any]) -> dict[str, str]:
    """The notebook's name where its front end tells it, and the hash of its file as it was last saved."""
    told = str(namespace.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME") or "")
    path = Path(told)
    if not told or not path.is_file():
        return {"name": path.name} if told else {}
    return {"name": path.name, "sha256": sha256_hex(path.read_bytes())}


def _commit() -> dict[str, Any]:
    """The commit of the working directory, and whether anything differs from it; nothing outside of a repository."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "is_committed": not _git("status", "--porcelain", "--untracked-files=no")}


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
