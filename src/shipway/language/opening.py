"""The way to an encoder: by name or address, once in a process."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

from shipway.errors import InvalidSpec
from shipway.language.reference import NONE, SHIPPED, EncoderRef, check_reference

if TYPE_CHECKING:
    from pathlib import Path

    from shipway.language.base import SentenceEncoder
    from shipway.language.description import EncoderDescription

_opening = threading.Lock()
_opened: dict[tuple[str, int | None], SentenceEncoder] = {}  # by reference, and by the hash of its description


def open_encoder(reference: str, *, threads: int | None = None, where: str = "sentence_encoder") -> SentenceEncoder:
    """The encoder; whoever asks for it again in this process is given the same one.

    Args:
        reference: `use-multilingual-3`, or `s3://.../encoder.json#sha256=...` as `publish` gives it.
        threads: Threads of one inference; None lets the runtime choose.
        where: The field that names it, for messages.

    Raises:
        InvalidSpec: an unknown name, an address without its hash, or another encoder lies there by now.
        NotFound: nothing lies there.
        UserError: the extra `language` is not installed.
        CorruptArtifact: its files are not what they should be.
        StorageError: the storage does not answer, or refuses.
    """
    if check_reference(reference, where) == NONE:
        raise InvalidSpec(f"{NONE} is no encoder", field=where, given=reference, allowed=SHIPPED)
    with _opening:
        if (reference, threads) not in _opened:
            folder, description = _folder(reference, where)
            same = (folder.name, threads)  # by another name or address, it is held once all the same
            if same not in _opened:
                _opened[same] = _open(folder, description, threads)
            _opened[reference, threads] = _opened[same]
        return _opened[reference, threads]


def missing_package(reference: str) -> str:
    """What an encoder needs and is not installed here, empty where nothing is missing; opens nothing.

    Which tokenizer one of your own takes is known once it is opened.
    """
    if reference == NONE:
        return ""
    needed = {"onnxruntime": "onnxruntime"}  # module -> package
    if reference in SHIPPED:
        from shipway.language.shipped import MODULE, PACKAGE, is_made

        needed |= {"sentencepiece": "sentencepiece"} | ({} if is_made() else {MODULE: PACKAGE, "onnx": "onnx"})
    elif not any(map(find_spec, ("sentencepiece", "tokenizers"))):
        return "sentencepiece or tokenizers"
    return next((package for module, package in needed.items() if find_spec(module) is None), "")


def check_installed(reference: str, where: str = "sentence_encoder") -> None:
    """Refuses an encoder for which a package is not installed here.

    Raises:
        UserError: names the package, and how it is installed.
    """
    from shipway.language.tokenizing import absent

    if package := missing_package(reference):
        raise absent(package, where)


def _folder(reference: str, where: str) -> tuple[Path, EncoderDescription]:
    """Its files on this machine, in a folder named by the hash of its description."""
    if reference in SHIPPED:
        from shipway.language.shipped import shipped_folder

        return shipped_folder()
    from shipway.language.storing import fetched_folder

    return fetched_folder(EncoderRef.parse(reference, where), where)


def _open(folder: Path, description: EncoderDescription, threads: int | None) -> SentenceEncoder:
    from shipway.language.encoder import OnnxEncoder

    return OnnxEncoder(folder, description, threads)
