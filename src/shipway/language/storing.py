"""Encoders in object storage: a folder named by the hash of its description, which is written last."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from shipway.artifacts.base import FileRef
from shipway.canonical import sha256_hex
from shipway.errors import InvalidSpec, NotFound
from shipway.language.description import FILE, EncoderDescription
from shipway.language.keeping import keep
from shipway.language.reference import EncoderRef

_MAX_DESCRIPTION = 1 << 16  # bytes


def publish(model: str | Path, tokenizer: str | Path, to: str, *, name: str, width: int, **settings: Any) -> str:
    """Puts an encoder of your own into object storage, after it was opened and asked here.

    Args:
        model: An ONNX file, all in one, with an input `input_ids`.
        tokenizer: `tokenizer.json` of Hugging Face's `tokenizers`, or a `.model` of SentencePiece.
        to: Folder, `s3://bucket/encoders`. Each encoder has one of its own in it, named by hash: none is ever replaced.
        name: What to call it.
        width: Numbers of a vector.
        settings: More fields of `EncoderDescription`: `languages`, `pooling`, `max_tokens`, ...

    Returns:
        What names it from now on: `s3://bucket/encoders/3f2a.../encoder.json#sha256=3f2a...`.

    Raises:
        InvalidSpec: a setting is wrong.
        NotFound: there is no such file.
        CorruptArtifact: the model holds what no served model may, cannot be read, or has another width.
    """
    from shipway.language.encoder import OnnxEncoder

    with tempfile.TemporaryDirectory(prefix="shipway-encoder-") as scratch:
        folder = Path(scratch)
        files = {
            "model": _taken(Path(model), folder / "encoder.onnx", "model"),
            "tokenizer": _taken(Path(tokenizer), folder / f"tokenizer{Path(tokenizer).suffix}", "tokenizer"),
        }
        description = _described({"name": name, "width": width, **settings}, files)
        OnnxEncoder(folder, description, threads=1)
        return upload(folder, description, to)


def upload(folder: Path, description: EncoderDescription, to: str) -> str:
    """Puts an encoder that lies in a folder here into object storage; one that is there already stays as it is.

    Its description is written in any case: `shipway store gc` spares what was named lately, whoever made it when.

    Returns:
        What names it there, as `publish`.
    """
    from shipway.storage import open_folder

    text = description.to_json()
    store = open_folder(f"{to.rstrip('/')}/{sha256_hex(text)}")
    if store.head(FILE) is None:
        for file in description.files:
            store.upload(folder / file.path, file.path)
    store.put(FILE, text.encode())
    return str(EncoderRef(f"{store.uri}/{FILE}", sha256_hex(text)))


def fetched_folder(ref: EncoderRef, where: str = "sentence_encoder") -> tuple[Path, EncoderDescription]:
    """The folder of an encoder in object storage; nothing is asked of the storage where it is here already.

    Raises:
        NotFound: nothing lies at its address, or one of its files is gone.
        InvalidSpec: another description lies there than the hash says.
        CorruptArtifact: one of its files has other bytes than its description says.
        StorageError: the storage does not answer, or refuses.
    """

    def fill(folder: Path) -> None:
        from shipway.storage import open_uri

        store, key = open_uri(ref.uri)
        try:
            info = store.head(key)
            if info is None:
                raise NotFound(ref.uri)
            text = store.get_range(key, 0, min(info.size_bytes, _MAX_DESCRIPTION))
            if sha256_hex(text) != ref.sha256:
                raise InvalidSpec(_other(ref, sha256_hex(text)), field=where)
            description = EncoderDescription.from_json(text, ref.uri)
            (folder / FILE).write_bytes(text)
            above = key.rpartition("/")[0]
            for file in description.files:
                target = folder / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                store.download("/".join(filter(None, [above, file.path])), target, sha256=file.sha256)
        except NotFound as error:
            raise NotFound(
                f"the encoder {ref.uri} is gone, or one of its files is: {error}",
                field=where,
                fix="put it there again, or name another encoder",
            ) from error

    return keep(ref.sha256, fill)


def _taken(source: Path, target: Path, field: str) -> FileRef:
    """A copy of a person's file, since a link is no model."""
    if not source.is_file():
        raise NotFound("no such file", field=field, given=str(source))
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRef(path=target.name, size_bytes=target.stat().st_size, sha256=digest)


def _described(settings: dict[str, Any], files: dict[str, FileRef]) -> EncoderDescription:
    from shipway.specs import parse

    known = sorted(set(EncoderDescription.model_fields) - {"kind", "schema_version", *files})
    unknown = next((name for name in settings if name not in known), None)
    if unknown is not None:  # the document itself keeps what a later version may say
        raise InvalidSpec("unknown setting", field=unknown, given=unknown, allowed=known)
    return parse(EncoderDescription, {**settings, **files}, "encoder")


def _other(ref: EncoderRef, given: str) -> str:
    return (
        f"{ref.uri} has sha256 {given}, and {ref.sha256} was asked for: another encoder lies there by now; put the old "
        "one back, or train again with the one that is there"
    )
