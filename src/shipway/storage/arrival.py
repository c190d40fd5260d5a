"""Downloaded files appear whole and verified, or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shipway.storage.base import RESERVED
from shipway.storage.local import disk_error


@contextmanager
def arriving(paths: list[Path]) -> Iterator[list[Path]]:
    """Where to write meanwhile; all of it is in place at the end, or gone.

    What goes into a folder that does not exist yet is collected in a stand-in beside it: one rename instead of
    thousands, and a folder that is there is whole.
    """
    stand_ins: dict[Path, Path] = {}  # a folder that is missing -> what will become it
    meanwhile: dict[str, Path | None] = {}  # a file's folder -> where it is written, None for beside its place
    temporaries = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in meanwhile:
            meanwhile[folder] = _stand_in(Path(folder), stand_ins)
        stand_in = meanwhile[folder]
        temporaries.append(Path(folder, f"{RESERVED}{uuid.uuid4().hex}") if stand_in is None else Path(stand_in, name))
    beside = [pair for pair in zip(temporaries, paths, strict=True) if meanwhile[os.path.dirname(pair[1])] is None]
    try:
        for folder, stand_in in meanwhile.items():
            Path(stand_in or folder).mkdir(parents=True, exist_ok=True)
        yield temporaries
        for top, stand_in in stand_ins.items():
            _become(stand_in, top)
        for temporary, path in beside:
            os.replace(temporary, path)
    except OSError as error:
        raise disk_error(error, paths[0]) from error
    finally:
        for stand_in in stand_ins.values():
            if stand_in.exists():
                shutil.rmtree(stand_in, ignore_errors=True)
        for temporary, _ in beside:
            temporary.unlink(missing_ok=True)


def _stand_in(folder: Path, stand_ins: dict[Path, Path]) -> Path | None:
    """Where the folder's files are written meanwhile; None where the folder is there."""
    top = _topmost_missing(folder)
    if top is None:
        return None
    if top not in stand_ins:
        stand_ins[top] = top.parent / f"{RESERVED}{uuid.uuid4().hex}"
    return stand_ins[top] / folder.relative_to(top)


def _topmost_missing(folder: Path) -> Path | None:
    """The highest folder on the way that is not there; None when all are."""
    missing = None
    for step in (folder, *folder.parents):
        if step.exists():
            break
        missing = step
    return missing


def _become(stand_in: Path, folder: Path) -> None:
    """Renames the stand-in; where another process made the folder meanwhile, moves file by file."""
    try:
        os.rename(stand_in, folder)
    except OSError:
        if not folder.is_dir():
            raise
        for path in [path for path in stand_in.rglob("*") if path.is_file()]:
            target = folder / path.relative_to(stand_in)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
