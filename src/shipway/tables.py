"""Tables from a notebook (pandas, Polars, Arrow), kept as Parquet under a name that is the hash of what they hold.

None of their libraries is imported before a table of theirs is given. Whatever a table is made of, the same rows,
columns and types make the same file: so the data step of a second run with them comes from the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.errors import InvalidData, InvalidSpec

if TYPE_CHECKING:
    import polars as pl

    from shipway.storage import Store

FOLDER = "data/tables"
ROW_GROUP = 100_000  # rows
_KINDS = {"DataFrame", "LazyFrame", "Table", "RecordBatch", "RecordBatchReader"}
_NOT_TABLES = {"Series", "Index", "Array", "ChunkedArray"}


def is_table(value: Any) -> bool:
    """Whether it is a table of one of those libraries, or of any that exports Arrow's stream."""
    kind = type(value)
    if kind.__module__.partition(".")[0] in ("pandas", "polars", "pyarrow"):
        return kind.__name__ in _KINDS
    return hasattr(value, "__arrow_c_stream__") and kind.__name__ not in _NOT_TABLES


def described(value: Any) -> str:
    """`a pandas DataFrame of 3 rows and 2 columns` of what prints as a page; empty for what prints in a line."""
    kind, shape = type(value), getattr(value, "shape", None)
    if kind.__module__ == "builtins" or not (shape or hasattr(value, "__arrow_c_stream__")):
        return ""
    size = f" of {' x '.join(str(number) for number in shape)}" if isinstance(shape, tuple) else ""
    return f"a {kind.__module__.partition('.')[0]} {kind.__name__}{size}"


def keep(name: str, table: Any, store: Store) -> str:
    """Writes a table into a store, unless it holds the same already.

    Args:
        name: The parameter's, for messages.
        table: With at least one row and one column, each of a name.
        store: Where it is kept, below `data/tables/`.

    Returns:
        The file's URI.

    Raises:
        InvalidData, InvalidSpec: it cannot be kept as a table of named, typed columns.
    """
    with tempfile.TemporaryDirectory(prefix="shipway-table-") as folder:
        path = Path(folder) / "table.parquet"
        _write(name, table, path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        key = f"{FOLDER}/{digest[:32]}.parquet"
        known = store.head(key)
        if known is None or known.size_bytes != path.stat().st_size:
            store.upload(path, key)
    return f"{store.uri}/{key}"


def is_kept(uri: str) -> bool:
    """Whether an address is that of a table which `keep` wrote."""
    return re.search(rf"/{FOLDER}/[0-9a-f]{{32}}\.parquet$", uri) is not None


def _write(name: str, table: Any, path: Path) -> None:
    import polars as pl

    try:
        whole = _from_pandas(name, table) if type(table).__module__.startswith("pandas") else _from_arrow(table)
        lazy = whole.lazy()
        schema = lazy.collect_schema()
        _check(name, schema)
        # Text is text, however it was kept: the same rows make the same file.
        texts = [column for column, kind in schema.items() if kind in (pl.Categorical, pl.Enum)]
        lazy = lazy.with_columns(pl.col(texts).cast(pl.String)) if texts else lazy
        if isinstance(whole, pl.LazyFrame):  # may be larger than memory
            lazy.sink_parquet(path, compression="zstd", row_group_size=ROW_GROUP, maintain_order=True)
        else:
            lazy.collect().rechunk().write_parquet(path, compression="zstd", row_group_size=ROW_GROUP)
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        raise InvalidData(
            f"the table cannot be kept as Parquet: {' '.join(str(error).split())[:300]}", field=name
        ) from None
    if not pl.scan_parquet(path).select(pl.len()).collect().item():
        raise InvalidData("the table has no rows", field=name)


def _from_arrow(table: Any) -> pl.DataFrame | pl.LazyFrame:
    """Of a Polars frame itself; of anything else that exports Arrow's stream, what it streams."""
    import polars as pl

    return table if isinstance(table, pl.DataFrame | pl.LazyFrame) else pl.DataFrame(table)


def _from_pandas(name: str, table: Any) -> pl.DataFrame:
    """Column by column: pandas' own way to Arrow needs pyarrow."""
    import polars as pl

    index = table.index
    if any(label is not None for label in index.names) or index.dtype.kind not in "iu":
        print(f"note: {name}: the index is left out; .reset_index() makes columns of it", file=sys.stderr)
    labels = list(table.columns)
    for label in labels:
        if not isinstance(label, str):
            raise InvalidSpec(
                f"column {label!r:.80} has no text for a name", field=name, fix="rename the columns to text"
            )
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise InvalidSpec(
            f"{twice[0]!r} names more than one column", field=name, given=twice[0], fix="give each a name of its own"
        )
    return pl.DataFrame([_column(name, label, table[label]) for label in labels])


def _column(name: str, label: str, series: Any) -> pl.Series:
    """NaN and NaT are missing values, as pandas means them; lists that no type of Parquet fits are JSON."""
    import polars as pl

    kind, zone = series.dtype.kind, getattr(series.dtype, "tz", None)
    if zone is not None:
        naive = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return pl.Series(label, naive, nan_to_null=True).dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone))
    if kind in "biufmM" and not hasattr(series.dtype, "numpy_dtype"):
        return pl.Series(label, series.to_numpy(), nan_to_null=True)
    values = series.astype(object).where(series.notna(), None).tolist()
    try:
        return pl.Series(label, values, strict=True)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        texts = _as_json(values)
        if texts is not None:
            return pl.Series(label, texts)
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        is_plain = not {*kinds} & {"dict", "list", "ndarray", "tuple"}
        raise InvalidData(
            f"column {label!r} holds values of several kinds or of none that Parquet has ({', '.join(kinds)})",
            field=name,
            given=label,
            fix=f"give it one: {'.astype(str)' if is_plain else '.map(json.dumps)'}, for example",
        ) from None


def _as_json(values: list[Any]) -> list[str | None] | None:
    """Lists of several kinds, as spans `[0, 3, "room"]` are, as their JSON; None where others are among them."""
    if not all(isinstance(value, list | tuple) or value is None for value in values):
        return None
    try:
        return [
            None if value is None else json.dumps(value, ensure_ascii=False, default=lambda number: number.item())
            for value in values
        ]
    except (TypeError, ValueError, AttributeError):
        return None


def _check(name: str, schema: pl.Schema) -> None:
    import polars as pl

    if not schema:
        raise InvalidData("the table has no columns", field=name)
    for label, kind in schema.items():
        if not label:
            raise InvalidSpec("a column has an empty name", field=name, fix="give it one")
        if kind == pl.Object:
            raise InvalidData(
                f"column {label!r} holds Python objects",
                field=name,
                given=label,
                allowed="text, numbers, times or lists",
            )
