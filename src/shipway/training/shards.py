"""A dataset's shards and its encoder on this machine. Imports no framework."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from shipway.artifacts import DatasetManifest, Shard
from shipway.errors import CorruptArtifact, InvalidData, InvalidSpec
from shipway.recipes import Encoder, load_recipe
from shipway.recipes.base import Packs
from shipway.storage import open_folder
from shipway.training.order import Share

UNREADABLE = "a record cannot be decoded"


def fetch_encoder(manifest: DatasetManifest, recipe: str, folder: Path) -> tuple[Encoder, Path]:
    """The dataset's encoder and the verified file it came from.

    Raises:
        InvalidSpec: the dataset was encoded by another recipe than the training's; none was imported for it.
    """
    if manifest.recipe != recipe:
        raise InvalidSpec(
            f"the dataset was encoded by {manifest.recipe!r}, training.recipe is {recipe!r}",
            field=manifest.uri,
            fix="give both the same",
        )
    path = folder / "encoder.json"
    open_folder(manifest.uri).download(manifest.encoder.path, path, sha256=manifest.encoder.sha256)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptArtifact(
            f"{manifest.uri}/{manifest.encoder.path}: not JSON ({error}); prepare it again"
        ) from error
    return load_recipe(recipe).load_encoder(document), path


def packer_of(manifest: DatasetManifest, encoder: Encoder) -> Packs | None:
    """What makes features of a dataset's records; None where the records hold them.

    Raises:
        InvalidData: the records are packed, and the installed recipe's encoder does not unpack them.
    """
    if not manifest.packed:
        return None
    if not isinstance(encoder, Packs) or encoder.packed != manifest.packed:
        raise InvalidData(
            f"its records hold {', '.join(manifest.packed)}, which the installed recipe "
            f"{manifest.recipe!r} does not unpack",
            field=f"dataset {manifest.name}",
            given=manifest.recipe,
            fix="prepare the dataset again",
        )
    return encoder


def unreadable_record(manifest: DatasetManifest, reason: str) -> InvalidData:
    """What to say of a record that looked in order when it was packed and is not: a damaged image."""
    return InvalidData(
        f"{UNREADABLE}: {reason}",
        field=f"dataset {manifest.name} ({manifest.uri})",
        fix="prepare it again without that row",
    )


def split_shards(manifest: DatasetManifest, split: str) -> list[Shard]:
    """A split's shards by path.

    Raises:
        InvalidData: the split has no rows.
    """
    part = manifest.splits.get(split)
    if part is None or not part.encoded_rows:
        raise InvalidData(
            f"the {split} split has no rows",
            field=f"dataset {manifest.name}",
            fix="give more data or larger split fractions",
        )
    return sorted((shard for shard in part.shards if shard.rows), key=lambda shard: shard.path)


def fetch_shards(manifest: DatasetManifest, shards: Sequence[Shard], folder: Path) -> list[Path]:
    """Downloads shards side by side, each verified by its sha256."""
    paths = [folder / shard.path for shard in shards]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    open_folder(manifest.uri).download_many(
        [(shard.path, path, shard.sha256) for shard, path in zip(shards, paths, strict=True)]
    )
    return paths


def own_shards(shards: Sequence[Shard], share: Share) -> list[Shard]:
    """This worker's shards, dealt in turn by size, largest first: every worker has much the same to read.

    Raises:
        InvalidData: there are fewer shards than workers.
    """
    if len(shards) < share.size:
        raise InvalidData(
            f"'stream' with {share.size} workers needs as many shards, the dataset has {len(shards)}",
            field="training.input",
            given="stream",
            fix="prepare it with smaller shards, or set training.input to memory",
        )
    return sorted(shards, key=lambda shard: (-shard.rows, shard.path))[share.rank :: share.size]
