"""Images from a folder, tables, archives and Parquet to the same rows; bad ones set aside with their reason."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipway.artifacts import DatasetManifest
from shipway.components.prep import archives, data, make
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData, InvalidSpec, NotFound
from shipway.storage import Store
from tests.fixtures import pictures
from tests.fixtures.records import parsed_shards

ROWS = 60


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("photos")
    return folder, pictures.write_folder(folder, ROWS)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    return Store.open()


def spec_of(source: Path | str, **changes: Any) -> DatasetSpec:
    fields: dict[str, Any] = {"name": "shapes", "recipe": pictures.REFERENCE, "min_shards": 1, "eval_fraction": 0.2}
    return DatasetSpec(**(fields | {"data": str(source)} | changes))


def prepared(store: Store, source: Path | str, **changes: Any) -> DatasetManifest:
    return make.make_dataset(spec_of(source, **changes), store)[0]


def rows_of(store: Store, manifest: DatasetManifest) -> pl.DataFrame:
    prefix = manifest.uri.removeprefix(f"{store.uri}/")
    parts = [file for part in manifest.splits.values() for file in part.row_files]
    return pl.concat([pl.read_parquet(store.get(f"{prefix}/{file.path}")) for file in parts], how="diagonal")


def reasons(store: Store, manifest: DatasetManifest) -> Counter[str]:
    prefix = manifest.uri.removeprefix(f"{store.uri}/")
    frames = [pl.read_parquet(store.get(f"{prefix}/{file.path}")) for file in manifest.quarantine]
    return Counter(pl.concat(frames)["reason"].to_list()) if frames else Counter()


def as_table(folder: Path, files: dict[str, bytes]) -> Path:
    lines = [f"{name},{name.split('/')[0]}" for name in files]
    (folder / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return folder / "labels.csv"


def _folder(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    return {"source": photos}


def _csv(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    as_table(top, files)
    return {"source": top / "labels.csv", "input": {"root": str(photos)}}


def _windows_csv(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    as_table(top, files)
    table = top / "labels.csv"
    table.write_text(table.read_text().replace("/", "\\"))
    return {"source": table, "input": {"root": str(photos)}}


def _jsonl(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    lines = [json.dumps({"file": str(photos / name), "what": name.split("/")[0]}) for name in files]
    (top / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return {
        "source": top / "rows.jsonl", "label_column": "what", "input": {"path_column": "file", "root": str(photos)},
    }  # fmt: skip


def _flat(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    flat = {name.replace("/", "-"): data for name, data in files.items()}
    for name, content in flat.items():
        (top / name).write_bytes(content)
    as_table(top, {})
    lines = [f"{name},{name.split('-')[0]}" for name in flat]
    (top / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return {"source": top}


def _zip(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    with zipfile.ZipFile(top / "photos.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("__MACOSX/disc/._0000.jpg", b"\0\5\x16\7")
    return {"source": top / "photos.zip"}


def _tar(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    with tarfile.open(top / "photos.tar.gz", "w:gz") as archive:
        archive.add(photos, ".")
        archive.add(as_table(top, files), "labels.csv")
    return {"source": top / "photos.tar.gz"}


def _parquet(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    frame = {"image": list(files.values()), "label": [name.split("/")[0] for name in files]}
    pl.DataFrame(frame).write_parquet(top / "rows.parquet")
    return {"source": top / "rows.parquet", "input": {"bytes_column": "image"}}


def _structs(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    frame = {
        "image": [{"bytes": content, "path": name} for name, content in files.items()],
        "label": [name.split("/")[0] for name in files],
    }
    pl.DataFrame(frame).write_parquet(top / "rows.parquet", row_group_size=7)
    return {"source": top, "input": {"bytes_column": "image"}}


def _base64(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    lines = [f"{name.split('/')[0]},{base64.b64encode(content).decode()}" for name, content in files.items()]
    (top / "rows.csv").write_text("\n".join(["label,photo", *lines]) + "\n")
    return {"source": top / "rows.csv", "input": {"bytes_column": "photo"}}


WAYS = (_folder, _csv, _windows_csv, _jsonl, _flat, _zip, _tar, _parquet, _structs, _base64)


@pytest.fixture(scope="module")
def ids(files: tuple[Path, dict[str, bytes]]) -> dict[bytes, tuple[str, str, str]]:
    """File -> id, label and split, as some source gave them first."""
    return {}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_every_kind_of_source_gives_the_same_rows_with_the_same_ids(
    way: Callable[..., dict[str, Any]], files: tuple[Path, dict[str, bytes]], store: Store, tmp_path: Path,
    ids: dict[bytes, tuple[str, str, str]],
) -> None:  # fmt: skip
    folder, contents = files
    (tmp_path / "given").mkdir()
    manifest = prepared(store, **way(tmp_path / "given", folder, contents))
    rows = rows_of(store, manifest)
    found = {image: (id, label, split) for image, id, label, split in rows["image", "row_id", "label", "split"].rows()}
    assert sorted(found) == sorted(contents.values()), "the files as they were"
    assert manifest.quarantined_rows == 0
    assert {found[data][1] == name.split("/")[0] for name, data in contents.items()} == {True}
    if not ids:
        ids.update(found)
    assert found == ids
    records = parsed_shards(store, manifest)
    for split in ("train", "eval", "test"):
        expected = sorted(image for image, (_, _, side) in found.items() if side == split)
        assert sorted(record["file"][0] for record in records[split]) == expected


def test_bad_files_are_set_aside_with_their_reason_and_the_rest_goes_on(store: Store, tmp_path: Path) -> None:
    files = pictures.write_folder(tmp_path / "photos", ROWS)
    good = next(iter(files.values()))
    strange = {
        "disc/cut.jpg": good[: len(good) // 2],
        "disc/empty.png": b"",
        "bar/text.jpg": b"not an image at all\n",
        "bar/bomb.png": bomb(60_000, 60_000),
        "bar/big.jpg": good + bytes(5000),
        "disc/wrong_ending.png": good,  # a JPEG: what it is counts, not its name
    }
    for name, content in strange.items():
        (tmp_path / "photos" / name).write_bytes(content)
    lines = [f"{name},{name.split('/')[0]}" for name in (*files, *strange)]
    lines += ["disc/gone.jpg,disc", "../outside.jpg,disc", ",disc", "/etc/passwd,bar", "disc,bar", "disc/0000.jpg,"]
    (tmp_path / "photos" / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    manifest = prepared(store, tmp_path / "photos", max_bad_fraction=0.5, input={"max_bytes": 5000})
    assert reasons(store, manifest) == {
        "the image is cut: its data end too early": 1,
        "the file is empty": 1,
        "no image but text; expected JPEG, PNG, WebP or GIF": 1,
        "the image declares more than 50,000,000 pixels (max_pixels)": 1,
        "the file has more than 5,000 bytes (max_bytes)": 1,
        "no such file": 1,
        "the path leads out of the folder": 2,
        "no path": 1,
        "the file cannot be read: is a directory": 1,
        "empty label": 1,
    }
    assert len(rows_of(store, manifest)) == ROWS + 1, "one is there twice, the second time under a wrong name"


def bomb(width: int, height: int) -> bytes:
    """A PNG that declares so many pixels, whole as its structure goes."""
    import struct
    import zlib

    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(100)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*parts, (b"IEND", b"")]
    )
