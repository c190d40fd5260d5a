"""Numbers as people write them in a cell: which are read, their one form as text, and why a cell holds none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

NUMBER = r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"
LARGEST = 3.4028234663852886e38  # of float32, which models compute in
TOO_LARGE = "is beyond the numbers of 32 bits"
NOT_A_NUMBER = "is not a number"
# What a cell that is no number may be, the first that fits.
REASONS = (
    (r"^$", "is empty"),
    (r"(?i)^(?:[-+]?nan|<na>|nat|null|none|nil|#?n/?a|-|\?)$", "is a mark of a missing value"),
    (r"(?i)^[-+]?inf(?:inity)?$", "is infinite"),
    (r"^[-+]?[0-9.,'’_\s]*[0-9][0-9.,'’_\s]*$", "has separators between its digits; write 1234.5"),
)


def parsed(cells: pl.Expr) -> pl.Expr:
    """The number of each cell, Float64 without -0; null where `reason` has one."""
    import polars as pl

    text = cells.cast(pl.String).str.strip_chars()
    number = pl.when(text.str.contains(NUMBER)).then(text).cast(pl.Float64, strict=False)
    return pl.when(number == 0).then(0.0).when(number.abs() <= LARGEST).then(number)  # `+ 0.0` is optimised away


def written(number: pl.Expr) -> pl.Expr:
    """A number as its shortest text that reads back as the same number."""
    import polars as pl

    return number.cast(pl.String)


def reason(cells: pl.Expr, name: str) -> pl.Expr:
    """Why each cell is no number, in a few words that begin with `name`; null for a number."""
    import polars as pl

    text = cells.cast(pl.String).str.strip_chars().fill_null("")
    told = pl.when(parsed(cells).is_not_null()).then(pl.lit(None, pl.String))
    for pattern, words in ((NUMBER, TOO_LARGE), *REASONS):
        told = told.when(text.str.contains(pattern)).then(pl.lit(f"{name} {words}"))  # type: ignore[assignment]
    return told.otherwise(pl.lit(f"{name} {NOT_A_NUMBER}"))


def read(text: str) -> float:
    """The number that a text holds, as `parsed` reads it.

    Raises:
        ValueError: it holds none; the words of `reason` say why.
    """
    text = text.strip()
    if re.fullmatch(NUMBER, text):
        number = float(text) + 0.0
        if abs(number) <= LARGEST:
            return number
        raise ValueError(TOO_LARGE)
    raise ValueError(next((words for pattern, words in REASONS if re.fullmatch(pattern, text)), NOT_A_NUMBER))
