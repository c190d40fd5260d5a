"""Local state is for its user alone: folders 0700, files 0600, whatever the umask."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

UMASK = 0o077  # of every process that we start: what it and its libraries write is the user's alone
OURS = (
    "store",
    "jobs",
    "endpoints",
    "runs",
    "kfp",
    "cache",
    "demo",
    "reports",
    "code",
    "functions",
    "tensorboard",
)  # what we make under a home


def make_folder(path: Path) -> Path:
    """The folder, made with what is missing above it, each for this user only."""
    if not path.is_dir():
        make_folder(path.parent) if not path.parent.is_dir() else None
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            path.chmod(0o700)  # a umask takes away, and a setgid parent adds
    return path


def write_text(path: Path, text: str) -> None:
    """Whole or not at all, for this user only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def tighten(home: Path) -> None:
    """Closes a home that an earlier version left open; a folder's own mode says that it was done.

    Only what is ours: a home may be a folder in which a person keeps other things. Links are not followed.
    """
    for name in OURS:
        top = home / name
        if top.is_dir() and not top.is_symlink() and stat.S_IMODE(top.stat().st_mode) & UMASK:
            for folder, folders, files in os.walk(top):
                for entry in (*folders, *files):
                    close(Path(folder, entry))
            close(top)
    if home.resolve() not in (Path.home(), Path.cwd(), *Path.cwd().parents):
        close(home)


def close(path: Path) -> None:
    """Takes from all others what they may do with a file or folder of ours."""
    with suppress(OSError):  # gone meanwhile, or not ours
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & UMASK:
            path.chmod(stat.S_IMODE(mode) & ~UMASK)
