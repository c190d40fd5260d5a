"""The input itself: its settings, what makes a row bad, and what a request may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field

from shipway.inputs.base import BadRequest, FileColumn, Format
from shipway.inputs.image import requests
from shipway.inputs.image.headers import MAX_PIXELS, MOST_PIXELS, BadImage, Header, read_header
from shipway.inputs.image.samples import png
from shipway.specs import Spec
from shipway.storage.trees import too_large

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_array

EXAMPLE_LINE = "photo.jpg"
CONTENT = "image content"  # the source column that stands for a file's bytes where rows name files
WARM_UP_SIDES = (32, 256, 1024)  # pixels
JSON_TOKENS = 16  # a string in an object

Name = Annotated[str, Field(min_length=1)]
OptionalName = Annotated[
    Name | None, BeforeValidator(lambda value: value or None)
]  # KFP gives "" for what is not given
Pixels = Annotated[int, Field(ge=1, le=MOST_PIXELS)]


class Params(Spec):
    """Section `dataset.input`.

    Attributes:
        path_column: Column of tables (CSV, JSON lines, Parquet) that names each row's file.
        bytes_column: Column that holds the files themselves instead: bytes of Parquet, or base64.
        root: Folder that paths are relative to, and that they must lie in; default: the table's own.
        max_bytes: A larger file is a bad row.
        max_pixels: So is an image that declares more.
        check: `structure` looks at what a file says of itself and whether it is whole; `pixels` decodes each as well,
            which finds damage within compressed pixels and takes about a hundred times as long.
    """

    path_column: Name = "path"
    bytes_column: OptionalName = None
    root: OptionalName = None
    max_bytes: Annotated[int, Field(ge=1, le=1 << 30)] = 10 << 20
    max_pixels: Pixels = MAX_PIXELS
    check: Literal["structure", "pixels"] = "structure"


class Limits(Spec):
    """Section `endpoint.input`.

    Attributes:
        max_bytes: Of one image's file.
        max_pixels: That one may declare.
        allow_addresses: `s3://` prefixes that a request may name an image below; none by default.
    """

    max_bytes: Annotated[int, Field(ge=1, le=1 << 30)] = 10 << 20
    max_pixels: Pixels = MAX_PIXELS
    allow_addresses: list[requests.Prefix] = Field(default_factory=list)


class Image:
    """Implements `shipway.inputs.Input`, and of `shipway.inputs.base` `Bindable`, `GivesFeatures`, `ReadsFiles`,
    `ShowsColumns`, `StandsFor` and `TakesLong`."""

    name = "image"
    Params: type[BaseModel] = Params
    Limits: type[BaseModel] = Limits
    tensor = ("image", "BYTES", [-1])
    unit = "bytes"
    shown: tuple[str, ...] = ("path",)
    root: str | None = None
    formats: Mapping[str, Format] = {}
    threads = 4
    example = "<photo.jpg as base64>"
    endings = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif")

    def bind(self, params: BaseModel) -> Image:
        """The same, whose previews name files by the column that the dataset has for them."""
        named, bound = cast(Params, params).path_column, Image()
        # A column that is called as one of ours is kept as source_<name>.
        bound.shown = tuple(name for name in (f"source_{named}", named) if name != "image")
        bound.root = cast(Params, params).root
        return bound

    def example_line(self, source: str, row: Mapping[str, Any]) -> str:
        """The row's file where it lies on this machine."""
        named = next((row[name] for name in self.shown if row.get(name)), None)
        place = Path(self.root or source)
        path = Path(place if place.is_dir() else place.parent, str(named).replace("\\", "/"))
        return str(path) if named and path.is_file() else EXAMPLE_LINE

    def columns(self, params: BaseModel) -> dict[str, str]:
        return {"image": cast(Params, params).bytes_column or CONTENT}

    def files(self, params: BaseModel) -> FileColumn | None:
        stated = cast(Params, params)
        if stated.bytes_column:
            return None
        return FileColumn(stated.path_column, CONTENT, stated.root, stated.max_bytes)

    def reason(self, params: BaseModel) -> pl.Expr:
        import polars as pl

        stated = cast(Params, params)

        def reasons(images: pl.Series) -> pl.Series:
            told = [_reason(data, stated) for data in images]
            return pl.Series(told, dtype=pl.String)

        return pl.col("image").map_batches(reasons, return_dtype=pl.String, is_elementwise=True)

    def content(self) -> pl.Expr:
        """The bytes' hash: two files that look alike and differ in a byte are two contents."""
        import polars as pl
        from xxhash import xxh3_128_hexdigest

        def hashes(images: pl.Series) -> pl.Series:
            return pl.Series([None if data is None else xxh3_128_hexdigest(data) for data in images], dtype=pl.String)

        return pl.col("image").map_batches(hashes, return_dtype=pl.String, is_elementwise=True)

    def values(self, rows: pl.DataFrame) -> list[bytes]:
        return rows.get_column("image").to_list()

    def preview(self, rows: pl.DataFrame) -> pl.Series:
        """What kind of image it is and how large; its file's name where the rows have it."""
        import polars as pl

        shown = [_shown(data) for data in rows.get_column("image")]
        column = next((name for name in self.shown if name in rows.columns), None)
        if column is not None:
            names = rows.get_column(column)
            shown = [f"{name}, {text}" if name else text for name, text in zip(names, shown, strict=True)]
        return pl.Series(shown, dtype=pl.String)

    def sizes(self, values: Sequence[Any]) -> NDArray[np.int64]:
        return np.fromiter(map(len, values), np.int64, len(values))

    def read_instance(self, instance: Any, where: str, limits: Any) -> bytes:
        data = requests.read(instance, where, limits)
        try:
            read_header(data, limits.max_pixels)
        except BadImage as error:
            raise BadRequest(f"{where}: {error}") from None
        return data

    def instance(self, row: dict[str, Any]) -> str:
        return requests.as_instance(row["image"])

    def from_line(self, line: str) -> Any:
        return requests.from_line(line)

    def json_tokens(self, limits: BaseModel) -> int:
        return JSON_TOKENS

    def warm_up(self, labels: Sequence[str]) -> list[bytes]:
        return [png(side, side) for side in WARM_UP_SIDES]

    def fit_features(self, rows: pl.DataFrame) -> tuple[csr_array, Callable[[pl.DataFrame], csr_array]]:
        """Thumbnails of 16 x 16 pixels."""
        from shipway.inputs.image.thumbnails import fit

        fitted, transform = fit(rows.get_column("image"))
        return fitted, lambda others: transform(others.get_column("image"))


def _reason(data: bytes | None, params: Params) -> str | None:
    if data is None:
        return "no image"
    if len(data) > params.max_bytes:
        return too_large(params.max_bytes)
    try:
        read_header(data, params.max_pixels)
        if params.check == "pixels":
            from shipway.inputs.image.decode import decode

            decode(data, 8, max_pixels=params.max_pixels)
    except BadImage as error:
        return str(error)
    return None


def _shown(data: bytes) -> str:
    try:
        header = read_header(data, MOST_PIXELS)
    except BadImage:
        return f"{len(data):,} bytes"
    return _named(header, len(data))


def _named(header: Header, size: int) -> str:
    return f"{header.format} {header.width}x{header.height}, {size:,} bytes"


kind = Image()
