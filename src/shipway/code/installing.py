"""Code on this machine: downloaded once, verified, unpacked into a folder named by its hash, put on the path."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from shipway import locks, modules, private
from shipway.code.packing import Packed, hash_file
from shipway.code.reference import CodeRef
from shipway.code.unpacking import is_whole, unpack
from shipway.context import Context
from shipway.errors import InvalidSpec, NotFound, StorageError

FOLDER = "code"  # below the local state folder


def code_folder() -> Path:
    """Where installed code lies on this machine."""
    return Context.current().make_home() / FOLDER


def install(ref: CodeRef, folder: Path) -> Path:
    """The folder that holds the code's modules; downloaded and unpacked where it is not there already and whole.

    Safe between processes and threads: one unpacks, the others wait for it.

    Args:
        ref: The code.
        folder: Of all installed code; the file itself may lie there too, as `pack` leaves it.

    Raises:
        NotFound: nothing lies at its address.
        InvalidSpec: something else lies there than its hash says, or it cannot be installed here.
    """
    target = folder / ref.sha256
    with locks.alone(folder / f".{ref.sha256}.lock"):
        if is_whole(target):
            return target
        work = folder / f".{uuid.uuid4().hex}"
        try:
            work.mkdir(mode=0o700)
            unpack(_verified(ref, folder, work), ref.name, work / "modules")
            if target.exists():  # somebody edited it: what is installed is what the hash says
                os.rename(target, work / "edited")
            os.rename(work / "modules", target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def use(code: str | CodeRef, where: str = "code") -> Path | None:
    """Installs code and puts it on this process's path; the code that was used before leaves it.

    Args:
        code: `ADDRESS#sha256=HASH`; empty: nothing happens.
        where: The field that names it, for messages.

    Returns:
        Its folder, None for no code.
    """
    if not code:
        return None
    ref = code if isinstance(code, CodeRef) else CodeRef.parse(code, where)
    folder = install(ref, code_folder())
    modules.use_code(str(folder))
    return folder


def kept(ref: CodeRef) -> Path:
    """Where this machine keeps the file of code that was packed or looked up here."""
    return code_folder() / f"{ref.sha256}{Path(ref.name).suffix}"


def keep(packed: Packed) -> None:
    """Keeps a file where `install` and `upload_packed` find it."""
    target = kept(CodeRef(packed.key, packed.sha256))
    private.make_folder(target.parent)
    temporary = target.with_name(f".{uuid.uuid4().hex}")
    try:
        shutil.copyfile(packed.path, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def other_bytes(ref: CodeRef, actual: str) -> InvalidSpec:
    """The error of an address where something else lies than its hash says."""
    return InvalidSpec(
        f"{ref.uri} has sha256 {actual}, and {ref.sha256} was asked for: something else lies there by now; nothing of "
        "it was run",
        field="code",
        fix="put the old bytes back, or start a run with the new hash",
    )


def _verified(ref: CodeRef, folder: Path, work: Path) -> Path:
    """The file, from this machine where it was packed here, else from the store."""
    packed = folder / f"{ref.sha256}{Path(ref.name).suffix}"
    if packed.is_file() and hash_file(packed) == ref.sha256:
        return packed
    from shipway.storage import open_uri

    store, key = open_uri(ref.uri)
    path = work / "download"
    try:
        store.download(key, path)
    except NotFound as error:
        raise NotFound(
            f"nothing lies at {ref.uri}", field="code", fix="put it there again, or give another address"
        ) from error
    except StorageError as error:
        error.args = (f"code: {ref.uri}: {error}",)
        raise
    actual = hash_file(path)
    if actual != ref.sha256:
        raise other_bytes(ref, actual)
    return path
