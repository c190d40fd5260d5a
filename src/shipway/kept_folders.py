"""Folders of this machine's cache, named by what is in them: made whole or not at all, and verified at each use."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shipway import private
from shipway.errors import CorruptArtifact

_ABANDONED_S = 24 * 3600  # a process that was killed leaves its scratch folder; nothing takes that long to fetch


def keep(folder: Path, fill: Callable[[Path], object], verify: Callable[[Path], object]) -> Path:
    """The folder, filled where it is not there or was changed.

    Two processes that fill it at once end with one whole folder.

    Args:
        folder: Where it is kept.
        fill: Writes into an empty folder, and verifies what it wrote.
        verify: Of a folder that lies there already.

    Raises:
        CorruptArtifact: of `fill`; or another process put something else there meanwhile.
    """
    with suppress(CorruptArtifact):
        verify(folder)
        return folder
    root = private.make_folder(folder.parent)
    _clean(root)
    scratch = root / f".{os.getpid()}-{uuid.uuid4().hex[:8]}"
    changed = root / f"{scratch.name}-changed"
    try:
        scratch.mkdir(mode=0o700)
        fill(scratch)
        with suppress(CorruptArtifact):  # another process was faster: its folder is as whole as ours
            verify(folder)
            return folder
        with suppress(FileNotFoundError):  # one that was changed leaves by rename, so that nobody opens half of it
            folder.rename(changed)
        try:
            scratch.rename(folder)
        except OSError:
            verify(folder)
        return folder
    finally:
        for each in (scratch, changed):
            shutil.rmtree(each, ignore_errors=True)


def _clean(root: Path) -> None:
    """Removes what killed processes left."""
    for left in root.glob(".*"):
        with suppress(OSError):  # its process is at it, after all
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left)
