"""Archives of code become folders of modules: nothing leaves the folder, nothing is a link, nothing is run."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from pathlib import Path, PurePosixPath

from shipway.code.wheels import Wheel, read_wheel, read_wheels
from shipway.errors import InvalidSpec

MAX_BYTES = 2 << 30  # unpacked
MAX_FILES = 100_000
LISTING = ".shipway-files.json"  # what was unpacked: name -> sha256
PARTS = ("purelib", "platlib")  # of a wheel's .data; scripts, headers and data belong to an installation
OURS = "shipway"
_CHUNK = 1 << 20
_IN_THE_WAY = (FileExistsError, NotADirectoryError, IsADirectoryError)  # a file where another entry wants a folder


def unpack(archive: Path, name: str, folder: Path) -> list[Wheel]:
    """Unpacks a wheel, or a `.zip` of modules or of wheels, into a folder of modules that is made here.

    Returns:
        The wheels that were in it.

    Raises:
        InvalidSpec: damaged, too big, an entry that leaves the folder or is no plain file, two of one name, or a wheel
            that does not fit here.
    """
    folder.mkdir(mode=0o700)
    files: dict[str, str] = {}
    wheels: list[Wheel] = []
    if name.endswith(".whl"):
        wheels.append(read_wheel(archive, name))
        _extract(archive, name, folder, files, is_wheel=True)
    else:
        _extract(archive, name, folder, files, is_wheel=False)
        paths = sorted(folder.glob("*.whl"))
        wheels += read_wheels(paths)
        for path in paths:
            del files[path.name]
            _extract(path, path.name, folder, files, is_wheel=True)
            path.unlink()
    if any(file == f"{OURS}.py" or file.startswith(f"{OURS}/") for file in files):
        raise InvalidSpec(
            f"{name} holds a module {OURS!r}, which is the framework's own",
            field="code",
            given=OURS,
            fix="leave it out",
        )
    (folder / LISTING).write_text(json.dumps(files), encoding="utf-8")
    return wheels


def is_whole(folder: Path) -> bool:
    """Whether a folder holds what was unpacked into it, and nothing else but bytecode."""
    try:
        files = json.loads((folder / LISTING).read_text(encoding="utf-8"))
        there = {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if not path.is_dir() and "__pycache__" not in path.parts and path.name != LISTING
        }
        return there == set(files) and all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in files.items()
        )
    except (OSError, ValueError):
        return False


def top_modules(folder: Path) -> list[str]:
    """Names that can be imported from an unpacked folder."""
    modules = {path.name.split(".")[0] for path in folder.iterdir() if path.suffix in (".py", ".so")}
    modules |= {path.name for path in folder.iterdir() if path.is_dir() and path.name.isidentifier()}
    return sorted(modules - {"__pycache__"})


def _extract(archive: Path, name: str, folder: Path, files: dict[str, str], *, is_wheel: bool) -> None:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            if len(entries) + len(files) > MAX_FILES or total + sum(e.file_size for e in entries) > MAX_BYTES:
                raise InvalidSpec(
                    f"{name} unpacks to more than {MAX_BYTES >> 30} GiB or {MAX_FILES} files",
                    field="code",
                    fix="keep data elsewhere",
                )
            for entry in entries:
                _check(entry, name)
                target = _place(entry.filename) if is_wheel else entry.filename
                if not target or entry.is_dir():
                    continue
                digest = _write(opened, entry, folder / target, is_new=target not in files)
                if files.setdefault(target, digest) != digest:
                    raise InvalidSpec(
                        f"{name}: {target} is there twice, with different content", field="code", fix="leave one out"
                    )
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, *_IN_THE_WAY) as error:
        raise InvalidSpec(f"{name} cannot be unpacked: {error}; build it again", field="code") from error


def _check(entry: zipfile.ZipInfo, archive: str) -> None:
    name, mode = entry.filename, entry.external_attr >> 16
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in entry.orig_filename:
        raise InvalidSpec(
            f"{archive}: entry {name!r} leaves the folder; nothing of it was unpacked", field="code", given=name
        )
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InvalidSpec(
            f"{archive}: entry {name!r} is a link or no plain file",
            field="code",
            given=name,
            fix="put the file itself there",
        )


def _place(name: str) -> str:
    """Where a wheel's entry goes; empty for what is not unpacked."""
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return name
    part, _, path = rest.partition("/")
    return path if part in PARTS else ""


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, *, is_new: bool) -> str:
    digest = hashlib.sha256()
    with opened.open(entry) as source:
        if not is_new:
            while block := source.read(_CHUNK):
                digest.update(block)
            return digest.hexdigest()
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as file:
            while block := source.read(_CHUNK):
                digest.update(block)
                file.write(block)
    return digest.hexdigest()
