"""What lies below a folder of a person's data: each file once, whatever links lead to it, and nothing passed over."""

from __future__ import annotations

import os
from pathlib import Path

from shipway.errors import InvalidData


def is_hidden(name: str) -> bool:
    """Whether a part of the name begins with a dot or an underscore, as Spark, Hive and editors hide files."""
    return any(part.startswith((".", "_")) for part in name.split("/"))


def files_below(top: Path) -> tuple[list[str], dict[str, str]]:
    """Names of all files below a folder, sorted; links to folders are followed, but for hidden ones.

    Returns:
        The names, and the links that are not followed, with the reason: what they lead to is read already.

    Raises:
        InvalidData: a folder that may not be looked into.
    """
    names: list[str] = []
    not_followed: dict[str, str] = {}
    walked = {os.path.realpath(top): "."}
    pending = [str(top)]
    while pending:
        links = []
        for folder, below, files in os.walk(pending.pop(0), onerror=_refuse):
            names += [os.path.relpath(os.path.join(folder, name), top) for name in files]
            for path in (os.path.join(folder, name) for name in sorted(below)):
                if is_hidden(os.path.relpath(path, top)):
                    continue
                if os.path.islink(path):
                    links.append(path)
                else:
                    walked[os.path.realpath(path)] = os.path.relpath(path, top)
        for path in links:
            name, real = os.path.relpath(path, top), os.path.realpath(path)
            if os.path.realpath(top).startswith(os.path.join(real, "")):
                not_followed[name] = "a link to a folder around this one"
            elif walked.setdefault(real, name) != name:
                not_followed[name] = f"a link to {readable(walked[real])!r}, which is read itself"
            else:
                pending.append(path)
    return sorted(names), not_followed


def without_copies(top: Path, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """The names without links to a file that is among them already, and those with the reason."""
    linked = [name for name in names if os.path.realpath(top / name) != os.path.join(os.path.realpath(top), name)]
    read = {os.path.realpath(top / name): name for name in set(names) - set(linked)} if linked else {}
    copies = {}
    for name in linked:
        first = read.setdefault(os.path.realpath(top / name), name)
        if first != name:
            copies[name] = f"a link to {readable(first)!r}, which is read itself"
    return [name for name in names if name not in copies], copies


def refuse_broken_link(path: Path, shown: str) -> None:
    """Refuses a link to nothing.

    Raises:
        InvalidData: it is one; says where it leads.
    """
    if path.is_symlink() and not path.exists():
        raise InvalidData(
            f"{shown!r} is a link to {os.readlink(path)!r}, which is not there", field="data", fix="fetch or remove it"
        )


def refuse_unreadable(path: Path, shown: str) -> None:
    """Refuses what has the name of a file with rows and is none.

    Raises:
        InvalidData: a link to nothing, a pipe, a socket, a device.
    """
    refuse_broken_link(path, shown)
    if not path.is_file():
        raise InvalidData(f"{shown!r} is neither a file nor a folder", field="data", given=shown, fix="remove it")


def readable(name: str) -> str:
    """A file's name for documents and messages: bytes in it that are no UTF-8 as `\\xe9`."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _refuse(error: OSError) -> None:
    raise InvalidData(
        f"folder {str(error.filename)!r} cannot be looked into: {error.strerror}",
        field="data",
        given=str(error.filename),
    ) from error
