"""A model's files on this machine: fetched once, kept by content, verified before every use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from shipway import kept_folders
from shipway.artifacts import FileRef, ModelManifest
from shipway.context import Context
from shipway.errors import CorruptArtifact

_CHUNK = 1 << 20


def needed_files(manifest: ModelManifest) -> list[FileRef]:
    """The files that serving needs: the encoder, and those of the variant that is served."""
    return [manifest.encoder, *manifest.served.files]


def stored_manifest(uri: str) -> ModelManifest:
    """The manifest of the model's folder at `uri`.

    Raises:
        CorruptArtifact: it is gone, was edited, or names the files of another folder.
    """
    from shipway.storage import read_artifact

    manifest = read_artifact(ModelManifest, uri)
    if manifest.uri.rstrip("/") != uri.rstrip("/"):
        raise CorruptArtifact(
            f"model at {uri}: its manifest names the files at {manifest.uri}; expected its own folder: train again "
            "with --fresh, or deploy the registered version again"
        )
    return manifest


def confirm(manifest: ModelManifest) -> None:
    """Checks a manifest that a pipeline handed on against the one in its model's folder.

    Raises:
        CorruptArtifact: they are of different models, or serve another variant: one of the two was edited or replaced.
    """
    stored = stored_manifest(manifest.uri)
    for what, given, there in (
        ("digest", manifest.digest, stored.digest),
        ("a served variant of digest", manifest.served.digest, stored.served.digest),
    ):
        if given != there:
            raise CorruptArtifact(
                f"model {manifest.name}: the manifest that was handed on has {what} {given}, the one at "
                f"{manifest.uri} has {there}; one of the two was replaced: train again with --fresh"
            )


def verify_files(folder: Path, files: Iterable[FileRef], where: str = "") -> None:
    """Checks size and sha256 of each file below `folder`.

    Raises:
        CorruptArtifact: names the first file that is missing or differs.
    """
    for file in files:
        path = folder / file.path
        source = where or str(folder)
        inside = [folder.joinpath(*Path(file.path).parts[:n]) for n in range(1, len(Path(file.path).parts) + 1)]
        if any(part.is_symlink() for part in inside):
            raise CorruptArtifact(
                f"model at {source}: {file.path} is a link, expected a file; train again with --fresh"
            )
        if not path.is_file():
            raise CorruptArtifact(f"model at {source}: {file.path} is missing; train again with --fresh")
        size = path.stat().st_size
        if size != file.size_bytes:
            raise CorruptArtifact(
                f"model at {source}: {file.path} has {size} bytes, its manifest says {file.size_bytes}; "
                "train again with --fresh"
            )
        given = _sha256(path)
        if given != file.sha256:
            raise CorruptArtifact(
                f"model at {source}: {file.path} was changed (sha256 {given[:12]}..., its manifest says "
                f"{file.sha256[:12]}...); train again with --fresh"
            )


def fetch_model(manifest: ModelManifest, cache: Path | None = None) -> Path:
    """A local folder with the files that serving needs, each verified.

    Args:
        manifest: Names the files; they are read from `manifest.uri`.
        cache: Where folders are kept by the digests of model and variant; default `SHIPWAY_HOME/cache/models`. A folder
            that was changed on disk is fetched anew; two processes that fetch at once end with one whole folder.

    Raises:
        CorruptArtifact: the stored files differ from the manifest.
        NotFound, StorageUnavailable, AccessDenied: as the store says.
    """
    from shipway.storage import open_folder

    files = needed_files(manifest)

    def fill(scratch: Path) -> None:
        open_folder(manifest.uri).download_folder("", files, scratch)
        verify_files(scratch, files, where=manifest.uri)

    root = cache or Context.current().home / "cache" / "models"
    folder = root / f"{manifest.digest}-{manifest.served.digest}"
    return kept_folders.keep(folder, fill, lambda there: verify_files(there, files))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()
