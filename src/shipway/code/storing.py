"""Code in the store: published by its hash, and looked up where a person named an address alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from shipway.code.installing import keep, kept, other_bytes
from shipway.code.packing import PACKED, Packed, hash_file, pack
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
    """Code as a person named it, as `ADDRESS#sha256=HASH` of the store's own copy; an empty text stays empty.

    Every step can read the store, and nobody replaces what lies under its hash. The copy is kept on this machine until
    `upload_packed`, so that nothing is written before a run starts.

    Args:
        text: A local path; an address of a wheel, of a `.zip` or of a folder; one with its hash.
        where: The field, for messages.

    Raises:
        NotFound: nothing is there.
        InvalidSpec: it is no code, or something else than the hash says.
    """
    if not text:
        return ""
    address, mark, digest = text.partition(MARK)
    root = f"{Context.current().store_uri}/code/"
    if mark:
        CodeRef.parse(text, where)
        if address.startswith(root):
            return text
    with tempfile.TemporaryDirectory(prefix="shipway-code-") as folder:
        packed = _fetch(address, Path(folder), where) if "://" in text else pack(Path(text).expanduser(), Path(folder))
        if mark and packed.sha256 != digest:
            raise other_bytes(CodeRef(address, digest), packed.sha256)
        keep(packed)
        return str(CodeRef(f"{Context.current().store_uri}/{packed.key}", packed.sha256))


def upload_packed(code: str) -> None:
    """Puts what `pin` kept on this machine into the store; of other code nothing happens."""
    ref = CodeRef.parse(code)
    packed = kept(ref)
    if not packed.is_file():
        return
    from shipway.storage import open_uri

    store, key = open_uri(ref.uri)
    if store.head(key) is None:
        store.upload(packed, key)


def _fetch(address: str, folder: Path, where: str) -> Packed:
    check_address(address, where)
    if not address.endswith(ENDINGS):
        _download_folder(address, folder / "given")
        return pack(folder / "given", folder)
    path = folder / address.rpartition("/")[2]
    _download(address, path)
    name = path.name if path.suffix == ".whl" else PACKED
    return Packed(path, hash_file(path), name)


def _download(uri: str, path: Path) -> None:
    from shipway.storage import open_uri

    store, key = open_uri(uri)
    try:
        store.download(key, path)
    except NotFound as error:
        raise NotFound(f"nothing lies at {uri}; `shipway store cp` copies a file there", field="code") from error


def _download_folder(uri: str, folder: Path) -> None:
    from shipway.storage import open_folder

    store = open_folder(uri.rstrip("/"))
    keys = [info.key for info in store.list()]
    if not keys:
        raise NotFound(
            f"nothing lies at {uri}", field="code", allowed="a wheel, a .zip, or a folder of modules or of wheels"
        )
    if any(".." in Path(key).parts for key in keys):
        raise InvalidSpec(f"{uri} holds a key that leaves the folder", field="code")
    store.download_many((key, folder / key, None) for key in keys)
