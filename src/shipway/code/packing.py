"""A folder of a person's code as one file with the same bytes each time."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from shipway import private
from shipway.code.wheels import read_wheel, read_wheels
from shipway.errors import InvalidSpec

MAX_BYTES = 512 << 20  # of a folder: more is data, which does not belong here
PACKED = "code.zip"  # what a packed folder is called in the store
LEFT_OUT = ("__pycache__", "node_modules")
BUILD = "pip wheel --no-deps -w dist ."


@dataclass(frozen=True)
class Packed:
    """Code as one file.

    Attributes:
        path: Of the file on this machine.
        name: What the object will be called; a wheel's says what it is for.
    """

    path: Path
    sha256: str
    name: str

    @property
    def key(self) -> str:
        """Where it lies in a store: equal content has one place."""
        return f"code/{self.sha256}/{self.name}"


def pack(path: Path, into: Path) -> Packed:
    """A wheel as it is; a folder of modules, or of wheels, as a `.zip` whose bytes depend on names and content alone.

    Args:
        path: A `.whl`; a folder as PYTHONPATH would name it; a folder of wheels (yours and what it needs); a `.zip` of
            either, taken as it is.
        into: Folder for the `.zip`.

    Raises:
        InvalidSpec: neither, or a folder that cannot travel: empty, too big, with links that lead out of it.
    """
    shown = str(path)
    if path.is_file():
        if path.suffix == ".zip":
            return Packed(path, hash_file(path), PACKED)
        if path.suffix != ".whl":
            raise InvalidSpec(_other_file(path), field="code")
        read_wheel(path)
        return Packed(path, hash_file(path), path.name)
    if not path.is_dir():
        raise InvalidSpec(
            "no file or folder", field="code", given=shown, allowed="a wheel, a folder of modules or one of wheels"
        )
    files = _wheels_of(path) or _files_of(path)
    if not files:
        raise InvalidSpec(f"folder {shown!r} holds no Python module and no wheel", field="code", given=shown)
    total = sum(file.stat().st_size for _, file in files)
    if total > MAX_BYTES:
        name, biggest = max(files, key=lambda each: each[1].stat().st_size)
        raise InvalidSpec(
            f"folder {shown!r} holds {total >> 20} MiB, allowed are {MAX_BYTES >> 20}; the "
            f"biggest file is {name} ({biggest.stat().st_size >> 20} MiB): keep data elsewhere",
            field="code",
            given=shown,
        )
    return _zip(files, into)


def hash_file(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _zip(files: list[tuple[str, Path]], into: Path) -> Packed:
    private.make_folder(into)
    temporary = into / f".{os.getpid()}-{os.urandom(4).hex()}.zip"
    try:
        # Not compressed: what a compressor makes of equal bytes depends on its version.
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, path in sorted(files):
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, _content(path))
        digest = hash_file(temporary)
        target = into / f"{digest}.zip"
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return Packed(target, digest, PACKED)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSpec(f"{str(path)!r} cannot be read: {error.strerror}", field="code", given=str(path)) from error


def _wheels_of(folder: Path) -> list[tuple[str, Path]]:
    """The wheels of a folder of wheels; none for a folder of modules."""
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".whl")
    if not paths:
        return []
    known = {(wheel.name, str(wheel.version)) for wheel in read_wheels(paths)}
    for path in sorted(folder.iterdir()):
        is_built = any(_stem(path).lower() in _spelt(name, version) for name, version in known)
        if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists()):
            raise InvalidSpec(
                f"folder {str(folder)!r} holds wheels and the module {path.name!r}",
                field="code",
                fix=f"put them into folders of their own, or build a wheel of the module too: {BUILD}",
            )
        if path.name.endswith((".tar.gz", ".tar.bz2")) and not is_built:
            raise InvalidSpec(_other_file(path), field="code")
    return [(path.name, path) for path in paths]


def _files_of(folder: Path) -> list[tuple[str, Path]]:
    """All files but hidden ones and bytecode; at least one module among them."""
    real, files = folder.resolve(), []
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _stays_behind(Path(top, name)))
        for name in (*folders, *names):
            path = Path(top, name)
            if path.is_symlink() and (not path.exists() or (path.is_dir() or not path.resolve().is_relative_to(real))):
                raise InvalidSpec(
                    f"{str(path)!r} is a link to {os.readlink(path)!r}, which stays behind",
                    field="code",
                    fix="put the files themselves into the folder, or build a wheel",
                )
        for name in names:
            path = Path(top, name)
            if not name.isprintable() or "\\" in name:  # surrogates of bytes that are no UTF-8 among them
                raise InvalidSpec(
                    f"{str(path)!a}: no module or file of a package is called so", field="code", fix="rename it"
                )
            if not name.startswith(".") and not name.endswith((".pyc", ".pyo")) and path.is_file():
                files.append((path.relative_to(folder).as_posix(), path))
    return files if any(name.endswith(".py") for name, _ in files) else []


def _stays_behind(folder: Path) -> bool:
    """Hidden folders, bytecode, virtual environments: nobody's code."""
    return folder.name.startswith(".") or folder.name in LEFT_OUT or (folder / "pyvenv.cfg").exists()


def _other_file(path: Path) -> str:
    if path.name.endswith((".tar.gz", ".tar.bz2")):
        return (
            f"{path.name!r} is no wheel; of a source distribution one has to be built, and nothing is built at start: "
            f"{BUILD}"
        )
    return f"{path.name!r} is no wheel; expected a .whl, a folder of modules or one of wheels"


def _stem(path: Path) -> str:
    return path.name.removesuffix(".tar.gz").removesuffix(".tar.bz2")


def _spelt(name: str, version: str) -> set[str]:
    return {f"{each}-{version}".lower() for each in (name, name.replace("-", "_"), name.replace("-", "."))}
