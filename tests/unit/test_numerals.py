"""Numbers as people write them: read the same in a column and one by one, or refused with the reason."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway import numerals


def of(*cells: str | None) -> tuple[list[float | None], list[str | None]]:
    found = pl.DataFrame({"cell": cells}, schema={"cell": pl.String}).select(
        number=numerals.parsed(pl.col("cell")), reason=numerals.reason(pl.col("cell"), "width")
    )
    return found["number"].to_list(), found["reason"].to_list()


def test_numbers_are_read_in_every_form_that_people_write() -> None:
    cells = ["3", " 3.50 ", "+.5", "5.", "-0", "1e3", "1E-7", "007"]
    assert of(*cells) == ([3.0, 3.5, 0.5, 5.0, 0.0, 1000.0, 1e-7, 7.0], [None] * 8)
    assert [math.copysign(1, zero) for zero in (*of("-0")[0], numerals.read("-0"))] == [1, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (None, "is empty"),
        ("  ", "is empty"),
        ("NaN", "is a mark of a missing value"),
        ("<NA>", "is a mark of a missing value"),
        ("n/a", "is a mark of a missing value"),
        ("-inf", "is infinite"),
        ("Infinity", "is infinite"),
        ("1,234.5", "has separators between its digits; write 1234.5"),
        ("1.234,5", "has separators between its digits; write 1234.5"),
        ("1 234", "has separators between its digits; write 1234.5"),
        ("1\u202f234", "has separators between its digits; write 1234.5"),
        ("1'234", "has separators between its digits; write 1234.5"),
        ("1_000", "has separators between its digits; write 1234.5"),
        ("0,5", "has separators between its digits; write 1234.5"),
        ("1e39", "is beyond the numbers of 32 bits"),
        ("-1e999", "is beyond the numbers of 32 bits"),
        ("dear", "is not a number"),
        ("5 €", "is not a number"),
        ("0x1F", "is not a number"),
        ("١٢", "is not a number"),
        ("1e", "is not a number"),
        (".", "is not a number"),
    ],
)
def test_what_is_no_number_is_refused_with_the_reason(cell: str | None, why: str) -> None:
    assert of(cell) == ([None], [f"width {why}"])
    with pytest.raises(ValueError, match=f"^{why.replace('.', '[.]')}$"):
        numerals.read(cell or "")


@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32) | st.floats(-1e30, 1e30) | st.integers(-(10**30), 10**30)
)
def test_equal_numbers_have_one_text_that_reads_back_as_the_number(number: float) -> None:
    cells = [repr(number), f"{number:+.40e}", f" {number!r} "]
    found = pl.DataFrame({"cell": cells}).select(
        number=numerals.parsed(pl.col("cell")), text=numerals.written(numerals.parsed(pl.col("cell")))
    )
    assert found["number"].to_list() == [float(number)] * 3
    [text] = set(found["text"])
    assert float(text) == numerals.read(text) == float(number)
    assert pl.select(numerals.written(numerals.parsed(pl.lit(text)))).item() == text


@given(st.text(max_size=12) | st.text("0123456789.,+-eE '_naif", max_size=8))
def test_a_column_and_a_single_text_are_read_alike(text: str) -> None:
    [number], [reason] = of(text)
    assert (number is None) == (reason is not None)
    if number is not None:
        assert numerals.read(text) == number
    elif not set(text) & set("\x1c\x1d\x1e\x1f"):  # blanks to Python alone
        with pytest.raises(ValueError, match=r"^(is|has) ") as refused:
            numerals.read(text)
        assert f"width {refused.value}" == reason
