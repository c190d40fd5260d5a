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
from contextlib import suppress
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


def _tar_named_zip(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    with tarfile.open(top / "photos.zip", "w:gz") as archive:
        archive.add(photos, ".")
    return {"source": top / "photos.zip"}


def _tar_xz(top: Path, photos: Path, files: dict[str, bytes]) -> dict[str, Any]:
    with tarfile.open(top / "photos.tar.xz", "w:xz") as archive:
        archive.add(photos, ".")
    return {"source": top}


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


WAYS = (_folder, _csv, _windows_csv, _jsonl, _flat, _zip, _tar, _tar_named_zip, _tar_xz, _parquet, _structs, _base64)


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
    page = store.get(f"{manifest.uri.removeprefix(f'{store.uri}/')}/report.html").decode()
    assert "labels.csv row 62 (disc/empty.png)" in page
    with pytest.raises(
        InvalidData,
        match=r"2 with the path leads out .*row .* \(../outside.jpg\); .*row 61 \(disc/cut.jpg\)\)",
    ):
        prepared(store, tmp_path / "photos", input={"max_bytes": 5000})
    (tmp_path / "photos" / "labels.csv").unlink()
    with pytest.raises(InvalidData, match=r"1 with the image is cut: its data end too early \(photos/disc/cut.jpg\)"):
        prepared(store, tmp_path / "photos")


def bomb(width: int, height: int) -> bytes:
    """A PNG that declares so many pixels, whole as its structure goes."""
    import struct
    import zlib

    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(100)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*parts, (b"IEND", b"")]
    )


def test_a_folder_of_splits_keeps_them(store: Store, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        pictures.write_folder(tmp_path / "photos" / split, 12)
    rows = rows_of(store, prepared(store, tmp_path / "photos", split_column="folder"))
    assert {(row["path"].split("/")[0], row["label"], row["split"]) for row in rows.iter_rows(named=True)} == {
        (folder, label, split)
        for folder, split in (("train", "train"), ("val", "eval"), ("test", "test"))
        for label in ("disc", "bar")
    }


def test_folders_that_are_called_as_splits_are_told_where_nobody_says_that_they_are(
    store: Store, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        pictures.write_folder(tmp_path / "photos" / split, ROWS // 2)
    notes: Any = prepared(store, tmp_path / "photos").statistics["notes"]
    assert notes[0] == "rows of test, train are put together and split anew; split_column=folder keeps them apart"


def test_equal_files_are_one_group_and_near_ones_are_not_looked_for(store: Store, tmp_path: Path) -> None:
    files = pictures.write_folder(tmp_path / "photos", ROWS)
    for number, content in enumerate(files.values()):
        (tmp_path / "photos" / "bar" / f"copy{number}.jpg").write_bytes(content)
    rows = rows_of(store, prepared(store, tmp_path / "photos", max_bad_fraction=0.5))
    assert len(rows) == 2 * ROWS
    assert rows.group_by("image").agg(pl.col("split").n_unique())["split"].unique().to_list() == [1]


def test_pixels_are_looked_at_where_that_is_asked(store: Store, tmp_path: Path) -> None:
    pictures.write_folder(tmp_path / "photos", ROWS)
    good = pictures.saved(pictures.drawn("disc", 999), "WEBP")
    damaged = good[:30] + b"\xff" * 20 + good[50:]
    (tmp_path / "photos" / "disc" / "damaged.webp").write_bytes(damaged)
    seen = prepared(store, tmp_path / "photos", input={"check": "pixels"})
    assert sum(reasons(store, seen).values()) == 1
    assert prepared(store, tmp_path / "photos").quarantined_rows == 0


def test_what_changes_a_source_changes_its_fingerprint_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    files = pictures.write_folder(photos, 8)
    table = as_table(tmp_path, files)
    by_table = {"source": table, "input": {"root": str(photos)}}
    seen = {name: data.data_fingerprint(spec_of(**given)) for name, given in
            {"folder": {"source": photos}, "table": by_table}.items()}  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (photos / "notes.txt").write_text("beside")
    (photos / "_hidden.jpg").write_bytes(b"")
    assert data.data_fingerprint(spec_of("photos")) == seen["folder"]
    assert data.data_fingerprint(spec_of(**by_table)) == seen["table"]
    changed = photos / next(iter(files))
    changed.write_bytes(changed.read_bytes() + b"\0")
    assert data.data_fingerprint(spec_of(photos)) != seen["folder"]
    again = data.data_fingerprint(spec_of(**by_table))
    assert again != seen["table"]
    table.write_text(table.read_text().replace("disc", "ring"))
    assert data.data_fingerprint(spec_of(**by_table)) != again


def _empty(top: Path) -> dict[str, Any]:
    (top / "notes.txt").write_text("nothing")
    return {"source": top}


def _flat_without_labels(top: Path) -> dict[str, Any]:
    (top / "a.jpg").write_bytes(b"x")
    return {"source": top}


def _no_path_column(top: Path) -> dict[str, Any]:
    (top / "rows.csv").write_text("image,label\na.jpg,x\n")
    return {"source": top / "rows.csv"}


def _no_bytes_column(top: Path) -> dict[str, Any]:
    pl.DataFrame({"photo": [b"x"], "label": ["x"]}).write_parquet(top / "rows.parquet")
    return {"source": top / "rows.parquet", "input": {"bytes_column": "image"}}


def _bytes_in_parquet(top: Path) -> dict[str, Any]:
    pl.DataFrame({"photo": [b"x"], "label": ["x"]}).write_parquet(top / "rows.parquet")
    return {"source": top / "rows.parquet"}


def _one_folder_deeper(top: Path) -> dict[str, Any]:
    for label in ("disc", "bar"):
        pictures.write_folder(top / "photos" / label / "raw", 1)
    return {"source": top / "photos"}


def _no_label_folder(top: Path) -> dict[str, Any]:
    pictures.write_folder(top / "photos", 4)
    return {"source": top / "photos", "label_column": "tags"}


def _no_root(top: Path) -> dict[str, Any]:
    (top / "rows.csv").write_text("path,label\na.jpg,x\n")
    return {"source": top / "rows.csv", "input": {"root": str(top / "gone")}}


def _cut_zip(top: Path) -> dict[str, Any]:
    _zip(top, top, pictures.write_folder(top / "photos", 8))
    (top / "photos.zip").write_bytes((top / "photos.zip").read_bytes()[:-40])
    return {"source": top / "photos.zip"}


def _cut_tar(top: Path) -> dict[str, Any]:
    _tar(top, top / "photos", pictures.write_folder(top / "photos", 8))
    (top / "photos.tar.gz").write_bytes((top / "photos.tar.gz").read_bytes()[:-40])
    return {"source": top / "photos.tar.gz"}


def _no_archive(top: Path) -> dict[str, Any]:
    (top / "photos.zip").write_bytes(b"not an archive")
    return {"source": top / "photos.zip"}


def _archive_bomb(top: Path) -> dict[str, Any]:
    with zipfile.ZipFile(top / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disc/a.png", bytes(3 << 20))
    return {"source": top / "photos.zip"}


WRONG = (
    (_empty, "no file of input 'image' in it"),
    (_flat_without_labels, "lie beside each other and no table says their labels"),
    (_no_path_column, "dataset.input.path_column: no column 'path' in 'rows.csv'; it has image, label"),
    (_no_bytes_column, "dataset.input.bytes_column: no column 'image' in 'rows.parquet'; it has "),
    (_bytes_in_parquet, "column 'photo' holds bytes: give overrides.dataset.input.bytes_column=photo"),
    (_one_folder_deeper, "a file's label is the name of the folder that it lies in"),
    (_no_label_folder, "label_column: no column 'tags' in 'photos/'; it has path, label, folder"),
    (_no_root, "no folder"),
    (_cut_zip, "cannot be read as an archive to its end"),
    (_cut_tar, "cannot be read as an archive to its end"),
    (_no_archive, "cannot be read as an archive to its end: File is not a zip file"),
    (_archive_bomb, "would unpack to more than"),
)


@pytest.mark.parametrize(("write", "message"), WRONG, ids=lambda part: getattr(part, "__name__", "").strip("_"))
def test_a_source_that_cannot_be_used_is_refused_in_one_line(
    write: Callable[[Path], dict[str, Any]], message: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LEAST_BYTES", 1 << 20)
    (tmp_path / "given").mkdir()
    with pytest.raises((InvalidData, InvalidSpec, NotFound)) as refused:
        prepared(store, **write(tmp_path / "given"))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(store.list("datasets"))


def test_nothing_of_an_archive_leads_out_of_it(tmp_path: Path) -> None:
    good = pictures.saved(pictures.drawn("disc", 1), "JPEG")
    path = tmp_path / "hostile.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("disc/a.jpg", "../out.jpg", "/abs.jpg", "disc/../../up.jpg", "disc/a.jpg", "a.exe", "_hid/b.jpg"):
            entry = tarfile.TarInfo(name)
            entry.size = len(good)
            archive.addfile(entry, io.BytesIO(good))
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as packed:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
        packed.writestr("..\\out.jpg", good)
        packed.writestr("../out.jpg", good)
        packed.writestr("disc/a.jpg", good)
        packed.writestr("disc/big.jpg", bytes(5000))
    for name, expected in (("hostile.tar", 8), ("hostile.zip", 3)):
        left_out = archives.unpack(tmp_path / name, name, tmp_path / f"{name}-out", lambda n: n.endswith(".jpg"), 4000)
        written = {
            str(found.relative_to(tmp_path / f"{name}-out")) for found in (tmp_path / f"{name}-out").rglob("*.jpg")
        }
        assert written == ({"disc/a.jpg"} if name == "hostile.tar" else {"disc/a.jpg", "disc/big.jpg"})
        assert len(left_out) == expected, left_out
    assert {found.name for found in tmp_path.iterdir()} == {
        "hostile.tar", "hostile.zip", "hostile.tar-out", "hostile.zip-out",
    }  # fmt: skip
    assert (tmp_path / "hostile.zip-out" / "disc" / "big.jpg").stat().st_size == 4001


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([".zip", ".tar", ".tar.gz"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5),
)
def test_a_damaged_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, ending: str, changes: Any
) -> None:
    top = tmp_path_factory.mktemp("damaged")
    path = top / f"photos{ending}"
    content = {f"disc/{n}.jpg": os.urandom(200) for n in range(4)}
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content_ in content.items():
                packed.writestr(name, content_)
    else:
        with tarfile.open(path, "w:gz" if ending == ".tar.gz" else "w") as archive:
            for name, content_ in content.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content_)
                archive.addfile(entry, io.BytesIO(content_))
    damaged = bytearray(path.read_bytes())
    for at, value in changes:
        damaged[at % len(damaged)] = value
    path.write_bytes(damaged)
    with suppress(InvalidData):
        archives.unpack(path, path.name, top / "out", lambda name: name.endswith(".jpg"), 1000)
    assert {found.name for found in top.iterdir()} <= {path.name, "out"}


def test_an_archive_comes_by_http_and_a_table_there_must_say_its_root(
    store: Store, files: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    (tmp_path / "site").mkdir()
    _zip(tmp_path / "site", *files)
    as_table(tmp_path / "site", files[1])
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_port}"
        assert len(rows_of(store, prepared(store, f"{site}/photos.zip"))) == ROWS
        with pytest.raises(InvalidData, match=r"rows of a table at an HTTP address .* give dataset.input.root"):
            prepared(store, f"{site}/labels.csv")
        rooted = prepared(store, f"{site}/labels.csv", input={"root": str(files[0])})
        assert len(rows_of(store, rooted)) == ROWS
        server.shutdown()


def test_a_look_before_a_run_names_what_is_skipped_and_unpacks_nothing(
    files: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    pictures.write_folder(photos, 6)
    (photos / "notes.txt").write_text("beside")
    assert data.look(spec_of(photos)) == [
        "1 files of the source are skipped: notes.txt (its name says no file of this input and no table)"
    ]
    _zip(tmp_path, *files)
    assert data.look(spec_of(tmp_path / "photos.zip")) == []
    with pytest.raises(NotFound, match="no such file or folder"):
        data.look(spec_of(tmp_path / "gone"))
