"""Input `text`: one text a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from shipway.characters import BLANK, CONTROL, REPLACED, WRONGLY_DECODED
from shipway.inputs.base import BadRequest, Format
from shipway.inputs.json_kinds import kind_of
from shipway.specs import Spec

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_array

PREVIEW_CHARS = 500
WARM_UP_WORDS = (1, 8, 64)
JSON_TOKENS = 32  # a text in an object with a few other fields


class Params(Spec):
    """Section `dataset.input`.

    Attributes:
        column: Source column of the text.
        max_chars: A longer text is a bad row.
    """

    column: Annotated[str, Field(min_length=1)] = "text"
    max_chars: Annotated[int, Field(ge=1)] = 10_000


class Limits(Spec):
    """Section `endpoint.input`.

    Attributes:
        max_chars: Characters of one text.
    """

    max_chars: Annotated[int, Field(ge=1)] = 10_000


class Text:
    """Implements `shipway.inputs.Input` and `shipway.inputs.base.GivesFeatures`."""

    name = "text"
    Params: type[BaseModel] = Params
    Limits: type[BaseModel] = Limits
    tensor = ("text", "BYTES", [-1])
    unit = "characters"
    formats: Mapping[str, Format] = {}

    def columns(self, params: BaseModel) -> dict[str, str]:
        return {"text": cast(Params, params).column}

    def reason(self, params: BaseModel) -> pl.Expr:
        import polars as pl

        text, most = pl.col("text"), cast(Params, params).max_chars
        return (
            pl.when(text.is_null() | text.str.contains(BLANK))
            .then(pl.lit("empty text"))
            .when(text.str.contains(REPLACED, literal=True))
            .then(pl.lit(WRONGLY_DECODED))
            .when(text.str.contains(CONTROL))
            .then(pl.lit("control character"))
            .when(text.str.len_chars() > most)
            .then(pl.lit(f"text longer than {most} characters"))
            .otherwise(None)
        )

    def content(self) -> pl.Expr:
        """Texts that a person would call the same become equal."""
        import polars as pl

        return pl.col("text").map_batches(_content, return_dtype=pl.String, is_elementwise=True)

    def values(self, rows: pl.DataFrame) -> list[str]:
        return rows.get_column("text").to_list()

    def preview(self, rows: pl.DataFrame) -> pl.Series:
        return rows.get_column("text").str.slice(0, PREVIEW_CHARS)

    def sizes(self, values: Sequence[Any]) -> NDArray[np.int64]:
        return np.fromiter(map(len, values), np.int64, len(values))

    def read_instance(self, instance: Any, where: str, limits: Any) -> str:
        text = instance if type(instance) is str else _text(instance, where)
        most = limits.max_chars
        if len(text) > most:
            raise BadRequest(f"{where} has {len(text)} characters, at most {most} are allowed")
        return text

    def instance(self, row: dict[str, Any]) -> str:
        return str(row["text"])

    def from_line(self, line: str) -> str:
        return line

    def json_tokens(self, limits: BaseModel) -> int:
        return JSON_TOKENS

    def warm_up(self, labels: Sequence[str]) -> list[str]:
        words = [f"{label} word" for label in labels] or ["word"]
        return [" ".join((words * count)[:count]) for count in WARM_UP_WORDS]

    def fit_features(self, rows: pl.DataFrame) -> tuple[csr_array, Callable[[pl.DataFrame], csr_array]]:
        from shipway.inputs import ngrams

        fitted, transform = ngrams.fit(self.values(rows))
        return fitted, lambda others: transform(self.values(others))


def _content(texts: pl.Series) -> pl.Series:
    """NFC, lower case, a space for each run of white space and none at the ends.

    The first and the third take ten times as long as to find the few texts that they may change.
    """
    is_wide = texts.str.len_bytes() != texts.str.len_chars()
    lower = _changed(texts, is_wide, lambda some: some.str.normalize("NFC")).str.to_lowercase()
    is_spaced = lower.str.contains(r"\s\s|[\s--\x20]")
    return _changed(lower, is_spaced, lambda some: some.str.replace_all(r"\s+", " ")).str.strip_chars(" ")


def _changed(texts: pl.Series, where: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """The texts with some of them changed; `where` may be null where the text is."""
    import polars as pl

    places = where.fill_null(False).arg_true()
    if not len(places):
        return texts
    order = np.arange(len(texts))
    order[places.to_numpy()] = len(texts) + np.arange(len(places))
    return pl.concat([texts, change(texts.gather(places))]).gather(order)


def _text(value: Any, where: str) -> str:
    if isinstance(value, Mapping):
        if "text" not in value:
            raise BadRequest(f'{where}: "text" is missing')
        where, value = f"{where}.text", value["text"]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest(f"{where}: not UTF-8") from None
    if not isinstance(value, str):
        raise BadRequest(f"{where} must be a string, got {kind_of(value)}")
    return value


kind = Text()
