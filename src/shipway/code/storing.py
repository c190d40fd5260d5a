"""Code in the store: published by its hash, and looked up where a person named an address alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from shipway.code.installing import code_folder
from shipway.code.packing import Packed, hash_file, pack
from shipway.code.reference import ENDINGS, MARK, CodeRef, check_address
from shipway.context import Context
from shipway.errors import InvalidSpec, NotFound

if TYPE_CHECKING:
    from shipway.storage import Store


def publish(path: Path, store: Store) -> CodeRef:
    """Puts a wheel or a folder into the store, once: equal content is the same object.

    Raises:
        InvalidSpec: as `pack`.
    """
    with tempfile.TemporaryDirectory(prefix="shipway-code-") as folder:
        packed = pack(path, Path(folder))
        if store.head(packed.key) is None:
            store.upload(packed.path, packed.key)
        return CodeRef(f"{store.uri}/{packed.key}", packed.sha256)


def pin(text: str, where: str = "code") -> str:
    """Code as a person named it, as `ADDRESS#sha256=HASH`; an empty text stays empty.

    A local path is packed, and kept for `upload_packed`: nothing is written to the store before a run starts. Of an
    address without a hash the hash is looked up.

    Raises:
        NotFound: nothing is there.
        InvalidSpec: it is no code, or no address of any.
    """
    if not text or MARK in text:
        return str(CodeRef.parse(text, where)) if text else ""
    if "://" not in text:
        return str(_kept(pack(Path(text).expanduser(), code_folder())))
    check_address(text, where)
    if text.endswith(ENDINGS):
        with tempfile.TemporaryDirectory(prefix="shipway-code-") as folder:
            path = Path(folder, text.rpartition("/")[2])
            _download(text, path)
            return str(CodeRef(text, hash_file(path)))
    with tempfile.TemporaryDirectory(prefix="shipway-code-") as folder:
        _download_folder(text, Path(folder))
        from shipway.storage import Store

        return str(publish(Path(folder), Store.open()))


def upload_packed(code: str) -> None:
    """Puts what `pin` packed on this machine into the store; of other code nothing happens."""
    ref = CodeRef.parse(code)
    packed = code_folder() / f"{ref.sha256}{Path(ref.name).suffix}"
    if not packed.is_file():
        return
    from shipway.storage import open_uri

    store, key = open_uri(ref.uri)
    if store.head(key) is None:
        store.upload(packed, key)


def _kept(packed: Packed) -> CodeRef:
    """Keeps the file where `install` and `upload_packed` find it."""
    import os
    import shutil

    target = code_folder() / f"{packed.sha256}{packed.path.suffix}"
    if packed.path != target:
        temporary = target.with_name(f".{os.getpid()}-{os.urandom(4).hex()}{packed.path.suffix}")
        shutil.copyfile(packed.path, temporary)
        os.replace(temporary, target)
    return CodeRef(Context.current().uri(packed.key), packed.sha256)


def _download(uri: str, path: Path) -> None:
    from shipway.storage import open_uri

    store, key = open_uri(uri)
    try:
        store.download(key, path)
    except NotFound as error:
        raise NotFound(f"code: nothing lies at {uri}; `shipway store cp` copies a file there") from error


def _download_folder(uri: str, folder: Path) -> None:
    from shipway.storage import open_folder

    store = open_folder(uri.rstrip("/"))
    keys = [info.key for info in store.list()]
    if not keys:
        raise NotFound(f"code: nothing lies at {uri}; expected a wheel, a .zip, or a folder of modules or of wheels")
    if any(".." in Path(key).parts for key in keys):
        raise InvalidSpec(f"code: {uri} holds a key that leaves the folder")
    store.download_many((key, folder / key, None) for key in keys)
