"""A dataset's folder in the store: bulk first, the manifest last, so that a reader sees all of it or nothing."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shipway.artifacts import SPLITS, DatasetManifest, FileRef, SplitManifest
from shipway.canonical import fingerprint, sha256_hex
from shipway.components.prep.core import Prepared
from shipway.components.prep.shards import as_shard
from shipway.components.prep.spec import DatasetSpec
from shipway.images import VERSION
from shipway.recipes.base import load_recipe

if TYPE_CHECKING:
    from shipway.storage import Store

MANIFEST = "manifest.json"


def dataset_fingerprint(spec: DatasetSpec, source_fingerprint: str) -> str:
    """Equal data, equal settings and equal code give equal bytes, hence one folder."""
    document = spec.model_dump(mode="json")
    return fingerprint({"spec": document, "source": source_fingerprint, "code": code_hash(spec.recipe)})


def code_hash(recipe: str) -> str:
    """Over the source of this room and of the recipe's package."""
    origin = Path(inspect.getfile(type(load_recipe(recipe))))
    is_package = (origin.parent / "__init__.py").exists()
    files = [*Path(__file__).parent.glob("*.py"), *(origin.parent.rglob("*.py") if is_package else [origin])]
    return fingerprint([[path.name, sha256_hex(path.read_bytes())] for path in sorted(files)])


def find_published(store: Store, prefix: str) -> DatasetManifest | None:
    """The dataset that is already there, if all its files are, with their sizes."""
    if store.head(f"{prefix}/{MANIFEST}") is None:
        return None
    manifest = DatasetManifest.from_json(store.get(f"{prefix}/{MANIFEST}"), f"{store.uri}/{prefix}/{MANIFEST}")
    there = {info.key.removeprefix(f"{prefix}/"): info.size_bytes for info in store.list(f"{prefix}/")}
    complete = all(there.get(ref.path) == ref.size_bytes for ref in file_refs(manifest))
    return manifest if complete else None


def file_refs(manifest: DatasetManifest) -> list[FileRef]:
    """Every file that the manifest names."""
    refs: list[FileRef] = [manifest.encoder, *manifest.quarantine]
    for split in manifest.splits.values():
        refs += [*split.shards, *split.row_files, *([split.group_hashes] if split.group_hashes else [])]
    return refs


def describe(
    prepared: Prepared, spec: DatasetSpec, store: Store, prefix: str, refs: dict[str, FileRef]
) -> DatasetManifest:
    """The manifest over files that are already in the store.

    Args:
        refs: By path below the dataset's folder.
    """
    rows = prepared.statistics.split_rows()
    splits = {}
    for split in SPLITS:
        written = prepared.written[split]
        splits[split] = SplitManifest(
            rows=sum(count for _, count in written.shards),
            groups=prepared.leakage.groups[split],
            class_counts=prepared.statistics.labels(split),
            shards=[as_shard(refs[path], count) for path, count in written.shards],
            row_files=[as_shard(refs[path], count) for path, count in written.row_files],
            group_hashes=refs[f"groups/{split}.parquet"],
        )
    encoder = refs["encoder.json"]
    recipe = load_recipe(spec.recipe)
    params = recipe.EncoderParams.model_validate(spec.encoder)
    return DatasetManifest(
        name=spec.name,
        uri=f"{store.uri}/{prefix}",
        fingerprint=prefix.rsplit("/", 1)[-1],
        recipe=spec.recipe,
        recipe_params=params.model_dump(mode="json"),
        source_uri=shown_source(spec.data),
        text_column=spec.text_column,
        label_column=spec.label_column,
        group_column=spec.group_column,
        labels=prepared.encoder.labels,
        features=prepared.encoder.features,
        splits=splits,
        encoder=encoder,
        encoder_sha256=encoder.sha256,
        quarantined_rows=prepared.statistics.bad_rows,
        quarantine=[
            as_shard(ref, prepared.statistics.bad_rows) for path, ref in refs.items() if path.startswith("quarantine/")
        ],
        leakage=prepared.leakage.document(rows),
        statistics=statistics_document(prepared),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        shipway_version=VERSION,
    )


def statistics_document(prepared: Prepared) -> dict[str, object]:
    """Counts, duplicates and notes."""
    leakage = prepared.leakage
    return {
        **prepared.statistics.document(),
        "duplicate_rows": leakage.duplicate_rows,
        "distinct_texts": leakage.texts,
        "conflicting_texts": leakage.conflicting_texts,
        "conflicting_rows": leakage.conflicting_rows,
        "notes": prepared.notes,
    }


def shown_source(data: str) -> str:
    """The source without a query, which may hold a signature."""
    return data.split("?", 1)[0]
