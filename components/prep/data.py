"""What a spec's `data` leads to: its fingerprint, and the files of rows in it, whatever the recipe's input takes."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway import redaction
from shipway.canonical import fingerprint
from shipway.components.prep.archives import ARCHIVES, is_archive, unpack
from shipway.components.prep.schema import Schema, schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData
from shipway.inputs.base import FileColumn, ReadsFiles
from shipway.storage import folders, trees
from shipway.storage import sources as stored

if TYPE_CHECKING:
    from shipway.components.prep.heads import Source

USELESS = "its name says no file of this input and no table"


@dataclass
class Opened:
    """What lies in a source.

    Attributes:
        sources: Its files of rows, opened far enough to know their columns.
        skipped: Files that hold rows for nobody, by name, with the reason.
        counted: Places whose files' sizes some source tells.
    """

    sources: list[Source] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Place:
    """A folder, on a disk or in object storage.

    Attributes:
        uri: Where.
        shown: Its name, for people.
        files, tables, archives: Names of those below it.
        others: Of all else.
    """

    uri: str
    shown: str
    files: list[trees.Entry]
    tables: list[trees.Entry]
    archives: list[trees.Entry]
    others: list[trees.Entry]


def data_fingerprint(spec: DatasetSpec) -> str:
    """A cheap identity of all that a dataset's rows are read from.

    Files that rows stand for, of which there may be millions, count by name, size and time of change (on a disk) or
    ETag (in object storage); tables and archives as `shipway.storage.sources.fingerprint_source` has it. Where a table
    alone is given, all such files below its folder count, or below `dataset.input.root`.

    Raises:
        NotFound, InvalidData: as `fingerprint_source`.
    """
    schema = schema_of(spec)
    column = schema.files
    if column is None:
        return stored.fingerprint_source(spec.data, spec.format, schema.suffixes)
    place = _folder(spec, schema)
    parts: list[Any] = []
    roots = [column.root] if column.root else []
    if place is None:
        parts.append(stored.fingerprint_source(spec.data, spec.format, (*schema.suffixes, *ARCHIVES)))
        kind, where = stored.kind_of(spec.data)
        if not roots and kind != "http" and not is_archive(where):
            roots.append(trees.parent_of(_local_or_s3(spec.data)))
    else:
        parts += [[entry.name, _version(place.uri, entry)] for entry in (*place.tables, *place.archives)]
        parts += [[entry.name, entry.size_bytes, entry.version] for entry in place.files]
    for root in roots:
        entries = _sorted(_local_or_s3(root), "", schema)
        parts.append([[entry.name, entry.size_bytes, entry.version] for entry in entries.files])
    return fingerprint(parts)


def _version(place: str, entry: trees.Entry) -> str:
    if place.startswith(trees.SCHEME):
        return f"{entry.version} {entry.size_bytes}"
    return stored.file_identity(Path(place, entry.name))


def open_sources(spec: DatasetSpec, folder: Path, *, unpacks: bool = True) -> Opened:
    """The files of rows, on this machine; those of object storage and of HTTP are fetched into `folder`.

    Args:
        spec: Names the data.
        folder: On scratch disk.
        unpacks: False leaves archives out, for a look before anything starts.

    Raises:
        NotFound, InvalidData: nothing there, no file of a kind that is read, a file that lacks a column.
        StorageUnavailable: a server does not answer.
    """
    from shipway.components.prep.sources import empty_files, find_sources

    schema = schema_of(spec)
    column = schema.files
    if column is None:
        files = stored.fetch_source(spec.data, folder, spec.format, schema.suffixes)
        sources = find_sources(files, spec)
        skipped = stored.skipped_files(spec.data, spec.format, schema.suffixes)
        return Opened(sources, skipped | empty_files(files, sources))
    place = _folder(spec, schema)
    opened = Opened()
    if place is None:
        [path] = stored.fetch_source(spec.data, folder / "given", spec.format, (*schema.suffixes, *ARCHIVES))
        if is_archive(path.name):
            if unpacks:
                top = folder / "unpacked"
                opened.skipped |= _unpack(path, path.name, top, column, schema)
                _add(opened, _sorted(str(top), path.name, schema), spec, schema, folder)
            return opened
        is_http = stored.kind_of(spec.data)[0] == "http"
        root = column.root or (None if is_http else trees.parent_of(_local_or_s3(spec.data)))
        if root is None:
            raise InvalidData(
                "rows of a table at an HTTP address name files below a folder that it does not say",
                field=f"data {redaction.place(spec.data)!r}",
                fix="give dataset.input.root, a folder or s3:// prefix",
            )
        _add_tables(opened, [path], "", _local_or_s3(root), spec, schema)
        return opened
    if place.archives and unpacks:
        top = folder / "unpacked"
        for path, entry in zip(_fetched(place, place.archives, folder / "archives"), place.archives, strict=True):
            left_out = _unpack(path, entry.name, top / entry.name, column, schema)
            opened.skipped |= {f"{entry.name}/{name}": why for name, why in left_out.items()}
        _add(opened, _sorted(str(top), place.shown, schema), spec, schema, folder)
    if place.files or place.tables or not place.archives:
        _add(opened, place, spec, schema, folder)
    return opened


def look(spec: DatasetSpec) -> list[str]:
    """Opens local files far enough to see their columns; what a person should know of how they will be read.

    Archives are not unpacked for it.

    Raises:
        NotFound, InvalidData: as `open_sources`.
        InvalidSpec: a slice of the evaluation is over a column that the rows will not have.
    """
    from shipway.components.prep import noted
    from shipway.components.prep.columns import check_slices
    from shipway.components.prep.sources import row_columns

    with tempfile.TemporaryDirectory(prefix="shipway-look-") as folder:
        opened = open_sources(spec, Path(folder), unpacks=False)
        if not opened.sources:
            return []
        check_slices(spec.slices, row_columns(opened.sources, spec))
        return noted.notes(noted.document(opened.sources, opened.skipped, spec))


def _local_or_s3(uri: str) -> str:
    """A path or an `s3://` URI of a person's."""
    kind, where = stored.kind_of(uri)
    return os.path.abspath(where) if kind == "local" else where


def _folder(spec: DatasetSpec, schema: Schema) -> _Place | None:
    """The folder that `data` is; None of a single file or an HTTP address."""
    kind, where = stored.kind_of(spec.data)
    if kind == "http":
        return None
    if kind == "local":
        return (
            _sorted(os.path.abspath(where), f"{Path(where).absolute().name}/", schema) if Path(where).is_dir() else None
        )
    return None if stored.is_object(where) else _sorted(where, f"{where.rstrip('/').rpartition('/')[2]}/", schema)


def _sorted(uri: str, shown: str, schema: Schema) -> _Place:
    assert isinstance(schema.kind, ReadsFiles)
    endings = schema.kind.endings
    place = _Place(uri, shown, [], [], [], [])
    for entry in trees.list_tree(uri):
        name = entry.name.lower()
        if not name.isascii() and folders.readable(entry.name) != entry.name:
            place.others.append(entry)
        elif name.endswith(endings):
            place.files.append(entry)
        elif stored.has_supported_suffix(entry.name, more=schema.suffixes):
            place.tables.append(entry)
        else:
            (place.archives if is_archive(entry.name) else place.others).append(entry)
    return place


def _unpack(path: Path, shown: str, top: Path, column: FileColumn, schema: Schema) -> dict[str, str]:
    assert isinstance(schema.kind, ReadsFiles)
    endings = schema.kind.endings

    def wanted(name: str) -> bool:
        return name.lower().endswith(endings) or stored.has_supported_suffix(name, more=schema.suffixes)

    return unpack(path, shown, top, wanted, column.max_bytes)


def _fetched(place: _Place, entries: Iterable[trees.Entry], folder: Path) -> list[Path]:
    """Files of a place on this machine."""
    if not place.uri.startswith(trees.SCHEME):
        return [Path(place.uri, entry.name) for entry in entries]
    from shipway.storage import open_folder

    paths = [(entry.name, folder / entry.name) for entry in entries]
    open_folder(place.uri).download_many([(name, path, None) for name, path in paths])
    return [path for _, path in paths]


def _add(opened: Opened, place: _Place, spec: DatasetSpec, schema: Schema, folder: Path) -> None:
    """Takes in a folder: its tables, or where it has none each of its files as a row."""
    from shipway.components.prep.heads import open_catalogue

    column = schema.files
    assert column is not None
    opened.skipped |= {folders.readable(entry.name): USELESS for entry in place.others}
    if place.tables:
        tables = _fetched(place, place.tables, folder / "tables")
        top = folder / "tables" if place.uri.startswith(trees.SCHEME) else Path(place.uri)
        for table, entry in zip(tables, place.tables, strict=True):
            above = str(Path(entry.name).parent)
            root = place.uri if above == "." else f"{place.uri}/{above}"
            _add_tables(opened, [table], str(table.relative_to(top)), _local_or_s3(column.root or root), spec, schema)
        return
    assert isinstance(schema.kind, ReadsFiles)
    if not place.files:
        few = "; ".join(f"{name}: {why}" for name, why in list(opened.skipped.items())[:3])
        what = f"has {few}" if few else "is empty"
        raise InvalidData(
            f"no file of input {schema.kind.name!r} in it (it {what})",
            field=f"data {spec.data!r}",
            given=schema.kind.name,
            allowed=f"{', '.join(schema.kind.endings)}, tables that name such, or {', '.join(ARCHIVES)}",
        )
    if all("/" not in entry.name for entry in place.files):
        raise InvalidData(
            f"its {len(place.files):,} files lie beside each other and no table says their labels",
            field=f"data {spec.data!r}",
            fix=(
                f"put them into a folder for each label, or add a CSV with columns {column.path_column} "
                f"and {spec.label_column}"
            ),
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"catalogue-{len(opened.sources)}.csv"
    columns = (column.path_column, "label", "folder")
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(columns)
        start = file.tell()
        rows.writerows(_described(entry.name) for entry in place.files)
    source = open_catalogue(path, place.shown, columns, start, spec)
    size = sum(entry.size_bytes for entry in place.files)
    tops = tuple(sorted({entry.name.partition("/")[0] for entry in place.files}))
    opened.sources.append(replace(source, files=column, place=place.uri, files_bytes=size, tops=tops))


def _described(name: str) -> tuple[str, str, str]:
    """A file's row: its path, the folder that it lies in as its label, and the top folder, which may be a split."""
    parts = name.split("/")
    return (name, parts[-2], parts[0]) if len(parts) > 1 else (name, "", "")


def _add_tables(opened: Opened, paths: list[Path], shown: str, root: str, spec: DatasetSpec, schema: Schema) -> None:
    from shipway.components.prep.sources import find_sources

    for source in find_sources(paths, spec):
        is_new = root not in opened.counted
        size = sum(entry.size_bytes for entry in _sorted(root, "", schema).files) if is_new else 0
        opened.counted.add(root)
        named = replace(source, shown=shown or source.shown, files=schema.files, place=root, files_bytes=size)
        opened.sources.append(named)
