"""Input `table`: named columns of numbers and categories; a value is a dict of them, float or str by column name."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from shipway import numerals
from shipway.characters import BLANK, CONTROL, REPLACED, WRONGLY_DECODED
from shipway.inputs.base import BadRequest, Format, Input
from shipway.inputs.json_kinds import check_names, kind_of, shown
from shipway.specs import Spec

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_array

# The rows' columns say themselves what they hold; a source's column may have the name of one of Shipway's own.
NUMBER, CATEGORY = "number.", "category."
PREVIEW_CHARS = 500
BETWEEN = "\x1f"  # no category holds it
Name = Annotated[str, Field(min_length=1)]


class Params(Spec):
    """Section `dataset.input`.

    Attributes:
        numeric: Source columns of numbers; a row where one is empty or no number is bad.
        categorical: Source columns of categories, compared as text; a row where one is empty is bad.
        max_chars: A longer category is a bad row.
    """

    numeric: list[Name] = Field(default_factory=list)
    categorical: list[Name] = Field(default_factory=list)
    max_chars: Annotated[int, Field(ge=1)] = 1000

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [*self.numeric, *self.categorical]
        if not names:
            raise ValueError("numeric and categorical are empty; name at least one column")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)}: named twice; a column is numeric or categorical, once")
        return self


class Limits(Spec):
    """Section `endpoint.input`.

    Attributes:
        max_chars: Characters of one category, and of a row that comes as one text.
    """

    max_chars: Annotated[int, Field(ge=1)] = 10_000


class Table:
    """Implements `shipway.inputs.Input`, `Bindable` and `GivesFeatures`.

    Args:
        params: Which columns a request has; None where rows say it themselves.
    """

    name = "table"
    Params: type[BaseModel] = Params
    Limits: type[BaseModel] = Limits
    tensor = ("table", "BYTES", [-1])
    unit = "rows"
    formats: Mapping[str, Format] = {}

    def __init__(self, params: BaseModel | None = None) -> None:
        stated = cast("Params | None", params)
        self._params = stated
        self._asked = [*stated.numeric, *stated.categorical] if stated else []
        self._numeric = frozenset(stated.numeric if stated else ())

    def bind(self, params: BaseModel) -> Input:
        return Table(params)

    def columns(self, params: BaseModel) -> dict[str, str]:
        stated = cast(Params, params)
        return {NUMBER + name: name for name in stated.numeric} | {CATEGORY + name: name for name in stated.categorical}

    def reason(self, params: BaseModel) -> pl.Expr:
        import polars as pl

        stated = cast(Params, params)
        numbers = [numerals.reason(pl.col(NUMBER + name), name) for name in stated.numeric]
        return pl.coalesce([*numbers, *(_wrong_category(name, stated.max_chars) for name in stated.categorical)])

    def content(self) -> pl.Expr:
        """Numbers in their shortest form, categories as `values` has them."""
        import polars as pl

        numbers = numerals.written(numerals.parsed(pl.col(r"^number\.[\s\S]*$")))
        return pl.concat_str(numbers, _clean(pl.col(r"^category\.[\s\S]*$")), separator=BETWEEN)

    def values(self, rows: pl.DataFrame) -> list[dict[str, Any]]:
        return self._cells(rows).to_dicts()

    def preview(self, rows: pl.DataFrame) -> pl.Series:
        import polars as pl

        cells = self._cells(rows)
        texts = [
            pl.col(name).cast(pl.String).str.strip_suffix(".0" if dtype.is_numeric() else "")
            for name, dtype in cells.schema.items()
        ]
        parts = [pl.concat_str(pl.lit(f"{name} "), text) for name, text in zip(cells.columns, texts, strict=True)]
        return cells.select(pl.concat_str(parts, separator=", ").str.slice(0, PREVIEW_CHARS)).to_series()

    def sizes(self, values: Sequence[Any]) -> NDArray[np.int64]:
        return np.ones(len(values), dtype=np.int64)

    def read_instance(self, instance: Any, where: str, limits: Any) -> dict[str, Any]:
        """An object by column name, a list in the order of `numeric` and `categorical`, or a text as `from_line` has
        it; a number may be text as in a source."""
        if isinstance(instance, str | bytes):
            instance = self._row(instance, where, limits.max_chars)
        if isinstance(instance, list):
            if len(instance) != len(self._asked):
                raise BadRequest(f"{where} must have {len(self._asked)} cells, {self._named}, got {len(instance)}")
            instance = dict(zip(self._asked, instance, strict=True))
        check_names(instance, self._asked, where)
        return {name: self._cell(instance, name, where, limits.max_chars) for name in self._asked}

    def instance(self, row: dict[str, Any]) -> dict[str, Any]:
        numbers = {_name(at): _plain(numerals.read(str(cell))) for at, cell in row.items() if at.startswith(NUMBER)}
        return numbers | {_name(at): _cleaned(str(cell)) for at, cell in row.items() if at.startswith(CATEGORY)}

    def from_line(self, line: str) -> dict[str, Any] | list[Any]:
        """A JSON object or list, or a line of CSV: its cells in the order of `numeric` and `categorical`."""
        text = line.strip()
        try:
            parsed = (
                json.loads(text)
                if text[:1] in ("{", "[")
                else next(csv.reader([text], skipinitialspace=True, strict=True), [])
            )
        except (ValueError, RecursionError, csv.Error):
            parsed = None
        if not parsed or not isinstance(parsed, dict | list):
            raise BadRequest(f"expected a JSON object by column name, or a line of CSV, got {shown(text)}")
        return parsed

    def json_tokens(self, limits: BaseModel) -> int:
        return 16 + 4 * len(self._asked)

    def warm_up(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        return [{name: 0.0 if name in self._numeric else "" for name in self._asked}]

    def fit_features(self, rows: pl.DataFrame) -> tuple[csr_array, Callable[[pl.DataFrame], csr_array]]:
        """Standardised numbers, and a column for each category; one that training rows lack has none."""
        from shipway.inputs.columns import fit

        fitted, transform = fit(self._cells(rows))
        return fitted, lambda others: transform(self._cells(others))

    @property
    def _named(self) -> str:
        return ", ".join(self._asked)

    def _cells(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows' own columns, or those that were asked for: Float64 and String, by their names in the source."""
        import polars as pl

        columns = self.columns(self._params) if self._params else {name: _name(name) for name in rows.columns}
        numbers = [numerals.parsed(pl.col(at)).alias(name) for at, name in columns.items() if at.startswith(NUMBER)]
        others = [_clean(pl.col(at)).alias(name) for at, name in columns.items() if at.startswith(CATEGORY)]
        return rows.select(*numbers, *others)

    def _row(self, text: str | bytes, where: str, most: int) -> Any:
        try:
            text = text.decode("utf-8") if isinstance(text, bytes) else text
        except UnicodeDecodeError:
            raise BadRequest(f"{where}: not UTF-8") from None
        if len(text) > most:
            raise BadRequest(f"{where} has {len(text)} characters, at most {most} are allowed")
        try:
            return self.from_line(text)
        except BadRequest as error:
            raise BadRequest(f"{where}: {error}") from None

    def _cell(self, instance: Mapping[str, Any], name: str, where: str, most: int) -> float | str:
        if name not in instance:
            raise BadRequest(f"{where}: {shown(name)} is missing; expected {self._named}")
        read = _number if name in self._numeric else _category
        return read(instance[name], f"{where}.{name}", most)


def _number(value: Any, where: str, most: int) -> float:
    if isinstance(value, str):
        try:
            return numerals.read(value)
        except ValueError as error:
            raise BadRequest(f"{where} {error}, got {shown(value)}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{where} must be a number, got {kind_of(value)}")
    if not abs(value) <= numerals.LARGEST:  # NaN, too
        raise BadRequest(
            f"{where} {numerals.TOO_LARGE if abs(value) > numerals.LARGEST else 'must be a number, got NaN'}"
        )
    return float(value) + 0.0


def _category(value: Any, where: str, most: int) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{where} must be a string, got {kind_of(value)}")
    if len(value) > most:
        raise BadRequest(f"{where} has {len(value)} characters, at most {most} are allowed")
    text = _cleaned(value)
    if not text:
        raise BadRequest(f"{where} is empty")
    return text


def _plain(number: float) -> float | int:
    """A whole number without `.0`, as a person would send it."""
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _name(column: str) -> str:
    """A column of rows by its name in the source."""
    return column.removeprefix(NUMBER if column.startswith(NUMBER) else CATEGORY)


def _wrong_category(name: str, most: int) -> pl.Expr:
    import polars as pl

    text = _clean(pl.col(CATEGORY + name))
    return (
        pl.when(text.is_null() | text.str.contains(BLANK))
        .then(pl.lit(f"{name} is empty"))
        .when(text.str.contains(REPLACED, literal=True))
        .then(pl.lit(f"{name}: {WRONGLY_DECODED}"))
        .when(text.str.contains(CONTROL))
        .then(pl.lit(f"{name} holds a control character"))
        .when(text.str.len_chars() > most)
        .then(pl.lit(f"{name} is longer than {most} characters"))
        .otherwise(None)
    )


def _clean(cells: pl.Expr) -> pl.Expr:
    import polars as pl

    return cells.cast(pl.String).str.normalize("NFC").str.strip_chars()


def _cleaned(text: str) -> str:
    """As `_clean` does it."""
    return unicodedata.normalize("NFC", text).strip()


kind = Table()
