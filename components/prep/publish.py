"""A folder in the store: bulk first, the manifest last, so that a reader sees all of it or nothing."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway import characters, redaction
from shipway.artifacts import SPLITS, DatasetManifest, FileRef, Shard, SplitManifest
from shipway.canonical import fingerprint, sha256_hex
from shipway.components.prep.alike import figures
from shipway.components.prep.leakage import Leakage
from shipway.components.prep.schema import schema_of
from shipway.components.prep.shards import Written
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.statistics import Statistics
from shipway.errors import CorruptArtifact
from shipway.images import VERSION
from shipway.language import nearest
from shipway.recipes.base import Encoder, Packs, load_recipe

if TYPE_CHECKING:
    from shipway.storage import Store

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Prepared:
    """Everything about a dataset whose files are in the store already."""

    statistics: Statistics
    leakage: Leakage
    encoder: Encoder
    written: dict[str, Written]
    refs: dict[str, FileRef]  # encoder.json and group hashes, by path below the dataset
    quarantine: list[Shard]
    document: dict[str, Any]  # statistics, notes and comparison for the manifest
    left_out: dict[str, dict[str, int]]  # split -> class without training rows -> rows that were set aside
    unpacked_bytes: int


def folder_fingerprint(spec: DatasetSpec, source: str) -> str:
    """Equal input, equal settings and equal code give equal bytes, hence one folder.

    Args:
        source: Fingerprint of the source's bytes.
    """
    return fingerprint(
        # A hash over a short secret would give it away, and a new signature of an address is no other data.
        {
            "spec": spec.model_dump(mode="json", exclude={"slices"}) | _sections(spec),
            "source": source,
            "code": code_hash(spec),
        }
    )


def _sections(spec: DatasetSpec) -> dict[str, Any]:
    """What stands for parts of a spec that may be written in several ways."""
    schema = schema_of(spec)
    return {
        "data": redaction.address(spec.data),
        "code": spec.code.rpartition("#")[2],  # wherever it lies
        "input": schema.input.model_dump(mode="json"),
        "labels": schema.reading.model_dump(mode="json"),
    }


def code_hash(spec: DatasetSpec) -> str:
    """Over the source of this room, and of the packages of the recipe, its input and its labels."""
    schema = schema_of(spec)
    parts = (load_recipe(spec.recipe), schema.kind, schema.labels)
    files = {Path(characters.__file__), Path(nearest.__file__), *Path(__file__).parent.glob("*.py")}
    for origin in (Path(inspect.getfile(type(part))) for part in parts):
        files |= {*origin.parent.rglob("*.py")} if (origin.parent / "__init__.py").exists() else {origin}
    return fingerprint(sorted([path.name, sha256_hex(path.read_bytes())] for path in files))


def find_published(store: Store, prefix: str) -> DatasetManifest | None:
    """The manifest that is already there, if all its files are, with their sizes."""
    if store.head(f"{prefix}/{MANIFEST}") is None:
        return None
    try:
        manifest = DatasetManifest.from_json(store.get(f"{prefix}/{MANIFEST}"), f"{store.uri}/{prefix}/{MANIFEST}")
    except CorruptArtifact:
        return None
    there = {info.key.removeprefix(f"{prefix}/"): info.size_bytes for info in store.list(prefix)}
    return manifest if all(there.get(ref.path) == ref.size_bytes for ref in file_refs(manifest)) else None


def file_refs(manifest: DatasetManifest) -> list[FileRef]:
    """Every file that the manifest names."""
    refs: list[FileRef] = [manifest.encoder, *manifest.quarantine]
    for split in manifest.splits.values():
        refs += [*split.shards, *split.row_files, *([split.group_hashes] if split.group_hashes else [])]
    return refs


def describe(prepared: Prepared, spec: DatasetSpec, uri: str) -> DatasetManifest:
    """The manifest over files that are already in the store."""
    statistics = prepared.statistics
    encoder = prepared.refs["encoder.json"]
    recipe, schema = load_recipe(spec.recipe), schema_of(spec)
    return DatasetManifest(
        name=spec.name,
        uri=uri,
        fingerprint=uri.rsplit("/", 1)[-1],
        recipe=spec.recipe,
        recipe_params=recipe.EncoderParams.model_validate(spec.encoder).model_dump(mode="json"),
        source_uri=redaction.address(spec.data),
        task=schema.task,
        input=schema.kind.name,
        input_params=schema.input.model_dump(mode="json"),
        label_params=schema.reading.model_dump(mode="json"),
        label_column=spec.label_column,
        group_column=spec.group_column,
        labels=prepared.encoder.labels,
        features=prepared.encoder.features,
        packed=prepared.encoder.packed if isinstance(prepared.encoder, Packs) else {},
        unpacked_bytes=prepared.unpacked_bytes,
        targets=schema.labels.targets(prepared.encoder),
        splits={split: _split(split, prepared) for split in SPLITS},
        encoder=encoder,
        encoder_sha256=encoder.sha256,
        quarantined_rows=statistics.bad_rows,
        quarantine=prepared.quarantine,
        leakage=prepared.leakage.document(statistics.split_rows()) | figures(prepared.document["alike"]),
        statistics=prepared.document,
        created_at=now(),
        shipway_version=VERSION,
    )


def _split(split: str, prepared: Prepared) -> SplitManifest:
    written = prepared.written[split]
    return SplitManifest(
        rows=sum(file.rows for file in written.row_files),
        groups=prepared.leakage.groups[split],
        class_counts=prepared.statistics.classes(split),
        left_out=prepared.left_out.get(split, {}),
        shards=written.shards,
        row_files=written.row_files,
        group_hashes=prepared.refs[f"groups/{split}.parquet"],
    )


def statistics_document(statistics: Statistics, unit: str, leakage: Leakage, notes: Iterable[str]) -> dict[str, Any]:
    """What the manifest keeps of the counts."""
    return {
        **statistics.document(unit),
        "duplicate_rows": leakage.duplicate_rows,
        "distinct_inputs": leakage.inputs,
        "conflicting_inputs": leakage.conflicting_inputs,
        "conflicting_rows": leakage.conflicting_rows,
        "notes": list(notes),
    }


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
