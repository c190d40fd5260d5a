"""A file opened far enough to know its shape: kind, columns, delimiter, quoting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from shipway.characters import plain_form
from shipway.components.prep.columns import free
from shipway.components.prep.content import Content
from shipway.components.prep.json_lines import NoRow, read_object
from shipway.components.prep.magic import misnamed
from shipway.components.prep.parse import CSV, first_record
from shipway.components.prep.quoting import Quoting, detect
from shipway.components.prep.schema import INPUT_COLUMN, Schema, schema_of
from shipway.components.prep.spec import DatasetSpec
from shipway.components.prep.streams import OPENERS
from shipway.errors import InvalidData, nearest
from shipway.inputs.base import FileColumn, ReadsFiles

HEAD_BYTES = 1 << 20  # read to find columns, delimiter and quoting
JSON_LINES = 1_000  # of them, to find columns
SHOWN_COLUMNS, NAME_CHARS = 20, 100  # in a message
DELIMITERS = ",;\t|"

KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
ENDINGS = "csv, tsv, jsonl, ndjson or parquet, also with .gz, .bz2, .xz or .zst"


@dataclass(frozen=True)
class Source:
    """One file, opened once to learn its shape.

    Attributes:
        path: Where it lies on this machine.
        kind: `csv`, `jsonl`, `parquet`, or the name of a format of the input or the labels.
        shown: Its name below the source, for people.
        compression: "", ".gz", ...
        columns: Names as the file has them.
        delimiter, quoting: Of a CSV.
        start: Offset of the first record (uncompressed).
        first_row: Rows of the original file in front of this one, where it holds a part of it.
        roles: Columns that the spec names.
        lists: Those that may hold lists.
        left_out: Columns whose type cannot be written as text.
        read: Reads a file of such a format.
        binary: Columns that hold bytes, which only an input can make something of.
        contents: Columns whose cells are bytes, where they come as text in base64.
        files: How its rows name files, of an input that reads such.
        place: Folder or `s3://` prefix that they are below.
        files_bytes: Of those files, together.
        tops: Topmost folders of such files, where no table names them.
    """

    path: Path
    shown: str
    kind: str
    compression: str
    columns: tuple[str, ...]
    delimiter: str = ","
    quoting: Quoting = CSV
    start: int = 0
    roles: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    read: Callable[[Path], Iterator[pl.DataFrame]] | None = None
    binary: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    files: FileColumn | None = None
    place: str = ""
    files_bytes: int = 0
    tops: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of its rows, about, as they come to lie on scratch disk."""
        expand = {"": 4.0 if self.is_whole else 1.2, ".gz": 5.0, ".bz2": 6.0, ".xz": 7.0, ".zst": 5.0}
        return int(self.path.stat().st_size * expand[self.compression]) + self.files_bytes

    @property
    def is_whole(self) -> bool:
        """Read in one piece, by a library's reader."""
        return self.kind not in ("csv", "jsonl")


def _kind(path: Path, spec: DatasetSpec) -> tuple[str | None, str]:
    formats = schema_of(spec).formats
    own = next((name for name, form in formats.items() if path.name.lower().endswith(form.suffixes)), None)
    if spec.format in formats or (own and spec.format == "auto"):
        return spec.format if spec.format in formats else own, ""
    suffix = path.suffix.lower()
    compression = suffix if suffix and suffix in OPENERS else ""
    name = path.with_suffix("") if compression else path
    if spec.format != "auto":
        return ("csv" if spec.format == "tsv" else spec.format), compression
    return KINDS.get(name.suffix.lower()), compression


def open_source(path: Path, shown: str, spec: DatasetSpec) -> Source:
    kind, compression = _kind(path, spec)
    if kind is None:
        raise InvalidData(
            f"{shown!r} is of no known kind",
            field="data",
            given=shown,
            allowed=f"{ENDINGS}, or name the format by overrides.dataset.format",
        )
    schema = schema_of(spec)
    roles = tuple(dict.fromkeys(source for _, source in _roles(spec)))
    lists = (spec.label_column,) if schema.takes_lists else ()
    if kind in schema.formats:
        reader = schema.formats[kind].read
        first = next(reader(path), pl.DataFrame())
        binary = tuple(name for name, dtype in first.schema.items() if dtype == pl.Binary)
        return Source(path, shown, kind, "", tuple(first.columns), roles=roles, read=reader, binary=binary)
    if kind == "parquet":
        if compression:
            raise InvalidData(
                f"{shown!r}: Parquet is compressed inside; decompress the file", field="data", given=shown
            )
        columns, left_out, binary = _parquet_columns(path, shown, schema.contents, lists)
        return Source(
            path, shown, kind, "", columns, roles=roles, left_out=left_out, binary=binary, contents=schema.contents
        )
    head = _head(path, shown, compression)
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    head = head[start:]
    if kind == "jsonl":
        columns = _jsonl_columns(head, shown)
        return Source(
            path, shown, kind, compression, columns, start=start, roles=roles, lists=lists, contents=schema.contents
        )
    is_tab = spec.format == "tsv" or Path(shown.removesuffix(compression)).suffix.lower() in (".tsv", ".tab")
    delimiter = spec.delimiter or ("\t" if is_tab else _sniff(head, spec))
    columns, length = _csv_header(head, delimiter, shown, has_quoting=spec.quoting != "none")
    quoting = _quoting(head[:length], head[length:], delimiter, columns, spec)
    return Source(
        path, shown, kind, compression, columns, delimiter, quoting, start + length, roles=roles,
        contents=schema.contents,
    )  # fmt: skip


def open_catalogue(path: Path, shown: str, columns: tuple[str, ...], start: int, spec: DatasetSpec) -> Source:
    """A CSV of our own that names the files of a folder, `shown`; its rows begin at byte `start`.

    Raises:
        InvalidData: the spec asks for another column.
    """
    roles = tuple(dict.fromkeys(source for _, source in _roles(spec)))
    source = Source(path, shown, "csv", "", columns, quoting=Quoting("csv"), start=start, roles=roles)
    check_columns(source, spec)
    return source


def _quoting(header: bytes, rows: bytes, delimiter: str, columns: tuple[str, ...], spec: DatasetSpec) -> Quoting:
    if spec.quoting != "auto":
        return Quoting(spec.quoting)
    return detect(
        rows,
        delimiter.encode(),
        len(columns),
        columns.index(spec.label_column) if spec.label_column in columns else 0,
        header_is_quoted=header.lstrip().startswith(b'"'),
        is_tab=delimiter == "\t",
    )


def _head(path: Path, shown: str, compression: str) -> bytes:
    with Content(path, shown, compression) as content:
        head = content.read(HEAD_BYTES)
    name, inside = path.name.removesuffix(path.suffix if compression else ""), " decompressed" if compression else ""
    wrong = misnamed(head, name)
    if wrong and compression and wrong.startswith("is compressed"):
        raise InvalidData(f"{shown!r} is compressed twice; decompress it once", field="data", given=shown)
    if wrong:
        raise InvalidData(f"{shown!r}{inside} {wrong}", field="data", given=shown)
    if b"\0" in head:
        raise InvalidData(
            f"{shown!r} is no text file (it holds NUL bytes)", field="data", given=shown, allowed="UTF-8 text"
        )
    rows = head.rstrip()
    if rows.count(b"\r") - rows.count(b"\r\n") > rows.count(b"\n"):
        raise InvalidData(
            f"{shown!r}{inside} has the line ends of old Macs (CR alone)",
            field="data",
            given=shown,
            fix=f"convert it: tr '\\r' '\\n' < {name} > lf-{name}",
        )
    return head


def _really(wrong: str | None) -> str:
    return f"; it {wrong}" if wrong else ""


def _sniff(head: bytes, spec: DatasetSpec) -> str:
    """The delimiter under which the header holds the wanted columns, else the commonest in it."""
    wanted = {*schema_of(spec).needed, spec.label_column}
    for delimiter in DELIMITERS:
        fields, _ = first_record(head, delimiter.encode(), has_quoting=spec.quoting != "none")
        if wanted <= {field.decode(errors="replace").strip() for field in fields}:
            return delimiter
    line = head.split(b"\n", 1)[0].decode(errors="replace")
    return max(DELIMITERS, key=line.count)


def _csv_header(head: bytes, delimiter: str, shown: str, *, has_quoting: bool) -> tuple[tuple[str, ...], int]:
    """Column names, and the bytes that the header takes."""
    record, length = first_record(head, delimiter.encode(), has_quoting=has_quoting)
    try:
        written = [field.decode().strip() for field in record]
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"{shown!r}: the header is not UTF-8",
            field="data",
            given=shown,
            fix="convert the file, for example iconv -f WINDOWS-1252 -t UTF-8",
        ) from error
    names: list[str] = []
    for position, name in enumerate(written, 1):
        if name and name in names:
            raise InvalidData(f"{shown!r}: column {name!r} stands in the header twice", field="data", fix="rename one")
        names.append(name or free(f"column_{position}", [*names, *written]))
    return tuple(names), length


def _jsonl_columns(head: bytes, shown: str) -> tuple[str, ...]:
    """Keys of the first lines; a line that is no object is a bad row later."""
    text = head.lstrip()
    if text.startswith(b"["):
        raise InvalidData(
            f"{shown!r} is one JSON array",
            field="data",
            given=shown,
            fix="write one object a line: jq -c '.[]' file > file.jsonl",
        )
    columns: dict[str, None] = {}
    reason = ""
    lines = head.split(b"\n")
    for line in lines[:JSON_LINES] if len(lines) == 1 else lines[:-1][:JSON_LINES]:
        try:
            columns |= dict.fromkeys(read_object(line))
        except (NoRow, RecursionError) as error:
            reason = reason or (str(error) if isinstance(error, NoRow) else "JSON nested too deeply")
    if text and not columns:
        raise InvalidData(
            f"{shown!r}: no line of its beginning is a JSON object ({reason[:160]})",
            field="data",
            given=shown,
            allowed="one object a line",
        )
    return tuple(columns)


def _parquet_columns(
    path: Path, shown: str, contents: tuple[str, ...], lists: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Columns that can be read as text, of `lists` also lists, or are wanted as bytes; those that cannot, with their
    types; those of bytes."""
    try:
        schema = pl.scan_parquet(path, glob=False).collect_schema()  # brackets in names are no pattern
    except (PolarsError, OSError, PanicException) as error:
        with path.open("rb") as file:
            head = file.read(1024)
        cut = "; it begins as Parquet, so its end may be missing" if head.startswith(b"PAR1") else ""
        wrong = cut or _really(misnamed(head, path.name))
        raise InvalidData(
            f"{shown!r} cannot be read as Parquet: {' '.join(str(error).split())[:200]}{wrong}",
            field="data",
            given=shown,
        ) from error
    binary = tuple(name for name in contents if name in schema and holds_bytes(schema[name]))
    left_out = [
        name
        for name, dtype in schema.items()
        if not (name in binary or _is_text(dtype) or (name in lists and dtype == pl.List))
    ]
    columns = tuple(name for name in schema if name not in left_out)
    return columns, tuple(f"{n} ({schema[n]})" for n in left_out), binary


def holds_bytes(dtype: pl.DataType) -> bool:
    """Whether cells are bytes, alone or as the field `bytes` of a struct, which is how data sets of images come."""
    if isinstance(dtype, pl.Struct):
        return any(field.name == "bytes" and field.dtype == pl.Binary for field in dtype.fields)
    return dtype == pl.Binary


def _is_text(dtype: pl.DataType) -> bool:
    """Whether a value of this type can be written as text."""
    if dtype.is_nested() or dtype in (pl.Binary, pl.Duration, pl.Object):
        return False
    try:
        pl.Series([None], dtype=dtype).cast(pl.String)
    except (PolarsError, PanicException, TypeError):
        return False
    return True


def _roles(spec: DatasetSpec) -> Iterator[tuple[str, str]]:
    """The source columns that the spec names, each behind what a person calls it."""
    schema = schema_of(spec)
    for name in schema.needed:
        yield _field_of(name, schema), name
    for field in ("label_column", "group_column", "split_column"):
        if name := getattr(spec, field):
            yield field, name


def _field_of(column: str, schema: Schema) -> str:
    """What a person sets to name this column of the input."""
    if isinstance(schema.kind, ReadsFiles):
        return next(f"dataset.input.{field}" for field, value in schema.input if value == column)
    return INPUT_COLUMN if len(schema.needed) == 1 else "dataset.input"


def check_columns(source: Source, spec: DatasetSpec) -> None:
    for field, name in _roles(spec):
        if name in source.binary and field in ("label_column", "group_column", "split_column"):
            raise InvalidData(f"column {name!r} in {source.shown!r} holds bytes", field=field, allowed="text")
        if name not in source.columns:
            if source.kind == "parquet" and name in (
                schema := pl.scan_parquet(source.path, glob=False).collect_schema()
            ):
                raise InvalidData(
                    f"column {name!r} in {source.shown!r} holds {schema[name]}",
                    field=field,
                    allowed="text, numbers or booleans: cast it first",
                )
            where = (
                f"the first {JSON_LINES:,} lines of {source.shown!r}" if source.kind == "jsonl" else f"{source.shown!r}"
            )
            own = "|".join(schema_of(spec).formats) if spec.format == "auto" and source.kind == "csv" else ""
            other = f"; if the file is of another format, give overrides.dataset.format={own}" if own else ""
            raise InvalidData(
                f"no column {name!r} in {where}; {_has(name, source.columns)}{other}{_bytes_hint(source, spec)}",
                field=field,
                given=name,
            )


def _bytes_hint(source: Source, spec: DatasetSpec) -> str:
    """Names a Parquet file's column of bytes, where rows that name files are expected."""
    if schema_of(spec).files is None or source.kind != "parquet":
        return ""
    columns = pl.scan_parquet(source.path, glob=False).collect_schema()
    named = next((name for name, dtype in columns.items() if holds_bytes(dtype)), None)
    return f"; column {named!r} holds bytes: give overrides.dataset.input.bytes_column={named}" if named else ""


def _has(name: str, columns: tuple[str, ...]) -> str:
    """The columns there are; one that looks like the wanted name is written so that the difference shows."""
    alike = next((column for column in columns if plain_form(column) == plain_form(name)), None)
    if alike is not None:
        return f"it has {alike!a}, which looks the same and is written otherwise; rename it"
    some = [column if column.isprintable() else ascii(column) for column in columns[:SHOWN_COLUMNS]]
    more = ", ..." if len(columns) > SHOWN_COLUMNS else ""
    return f"it has {', '.join(column[:NAME_CHARS] for column in some)}{more}{nearest(name, columns)}"
