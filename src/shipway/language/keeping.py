"""Encoders on this machine: a folder each, named by the hash of its description."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from shipway import kept_folders
from shipway.context import Context
from shipway.errors import CorruptArtifact
from shipway.language.description import FILE, EncoderDescription


def kept_folder(key: str) -> Path:
    """Where the encoder whose description has that hash lies, or would; nothing is made."""
    return Context.current().home / "cache" / "encoders" / key


def keep(key: str, fill: Callable[[Path], None]) -> tuple[Path, EncoderDescription]:
    """The encoder's folder, each file verified; filled where it is not there, or was changed.

    Args:
        key: sha256 of the description.
        fill: Writes the description and its files into an empty folder.

    Raises:
        CorruptArtifact: what was filled in differs from its description.
    """

    def made(scratch: Path) -> None:
        fill(scratch)
        _verify(scratch, key)

    Context.current().make_home()
    folder = kept_folders.keep(kept_folder(key), made, lambda there: _verify(there, key))
    return folder, EncoderDescription.read(folder / FILE)


def check_file(path: Path, sha256: str, where: str) -> None:
    """Refuses a file of other bytes.

    Raises:
        CorruptArtifact: it is gone, a link, or its hash differs.
    """
    if path.is_symlink() or not path.is_file():
        raise CorruptArtifact(f"{where}: {path.name} is missing or a link")
    with path.open("rb") as file:
        given = hashlib.file_digest(file, "sha256").hexdigest()
    if given != sha256:
        raise CorruptArtifact(f"{where}: {path.name} has sha256 {given}, expected {sha256}")


def _verify(folder: Path, key: str) -> None:
    check_file(folder / FILE, key, str(folder))
    for file in EncoderDescription.read(folder / FILE).files:
        check_file(folder / file.path, file.sha256, str(folder))
