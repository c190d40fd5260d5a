"""A function on its way: its files, the versions that they were written against, and where they come from."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from shipway import modules, private
from shipway.canonical import fingerprint, sha256_hex
from shipway.context import Context
from shipway.errors import NOTHING, InvalidSpec, NotFound, nearest
from shipway.functions.declared import Declared, declared
from shipway.functions.names import functions_in
from shipway.functions.needs import Needs, kind_of
from shipway.functions.pieces import shell
from shipway.functions.source import Source
from shipway.images import VERSION

FILE = re.compile(r"(?P<path>.+\.py)(:(?P<name>\w+))?")
_GIT_S = 5.0


def of_file(path: Path, name: str) -> Source:
    """A function of a file that is not imported here; the file travels as it is, with its neighbours that it imports.

    Raises:
        NotFound: no such file, or no such function in it.
        InvalidSpec: it does not parse, or imports what is not installed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFound(f"no file {str(path)!r}", field="function", given=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path}: cannot be read: {error}", field="function") from error
    if not name or declared(text, name, path.name) is None:
        names = functions_in(text)
        what = f"{path} has no function {name!r}" if name else f"{path}: which function is not said"
        raise NotFound(
            f"{what}; it has {', '.join(names) or 'none'}{nearest(name, names)}",
            field="function",
            given=name if name else NOTHING,
            fix="" if name else f"give {path}:{names[0] if names else 'train'}",
        )
    needs = Needs(beside=path.parent)
    needs.add_file(path.name, text)
    needs.tell()
    module = _module_of(path)
    return Source(name, module, {**needs.own, f"{module}.py": text}, needs.requirements, path.name)


def _module_of(path: Path) -> str:
    """What the file is called on its way: another name than its own where that is none of a module, or is taken."""
    is_taken = not path.stem.isidentifier() or kind_of(path.stem) in ("standard", "installed")
    return f"own_{re.sub(r'[^0-9A-Za-z]+', '_', path.stem)}" if is_taken else path.stem


def write(source: Source) -> Path:
    """The function's files in a folder of the local state, to be given as `code`.

    Beside them stands a `requirements.txt`: the versions here of what they import, so that another version is another
    experiment.
    """
    pinned = "".join(f"{each}=={version}\n" for each, version in source.requirements.items())
    files = {**source.files, "requirements.txt": pinned}
    folder = Context.current().make_home() / "functions" / fingerprint(files)
    for path, text in files.items():
        target = folder / path
        private.make_folder(target.parent)
        private.write_text(target, text)
    return folder


def with_file(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pipeline's parameters, where `function` is `file.py:name` with that file as their `code`."""
    match = FILE.fullmatch(str(params.get("function", "")))
    if match is None:
        return params
    if params.get("code"):
        raise InvalidSpec(
            f"with function={params['function']!r} the file itself is the code",
            field="code",
            given=params["function"],
            fix="give `module:name` of the code, or leave code out",
        )
    source = of_file(Path(match["path"]).expanduser(), match["name"] or "")
    return {**params, "function": source.reference, "code": str(write(source)), "origin": origin(source)}


def declared_by(reference: str) -> Declared | None:
    """What a function of the code in use, or of what is installed, says of itself; None where no source is found.

    Args:
        reference: `module:name`; nothing of it is imported.
    """
    module, _, name = reference.partition(":")
    where = [folder for folder in (modules.code_in_use(), *sys.path) if folder]
    spec = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, where)
        if spec is None:
            return None
        where = list(spec.submodule_search_locations or [])
    path = Path(spec.origin) if spec is not None and spec.origin else None
    if path is None or path.suffix != ".py" or not path.is_file():
        return None
    return declared(path.read_text(encoding="utf-8-sig"), name, path.name)


def origin(source: Source, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Where a function comes from, for a person who asks later: versions, notebook, commit."""
    facts: dict[str, Any] = {
        "function": source.name,
        "from": source.where,
        "shipway": VERSION,
        "python": platform.python_version(),
        "packages": dict(source.requirements),
        **_commit(),
    }
    if shell() is not None:
        facts["notebook"] = _notebook(namespace or {})
    elif sys.argv and sys.argv[0]:
        facts["started_from"] = Path(sys.argv[0]).name
    return facts


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
