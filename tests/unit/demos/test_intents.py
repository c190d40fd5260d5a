"""The demo's CSV: real intents, grouped by template, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shipway.demos.intents import COLUMNS, MIN_GROUPS, languages, write_intents_csv
from shipway.errors import NotFound


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_intents_csv(tmp_path / name, "nl", rows_per_intent=20)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "nl"])
def test_real_sentences_stand_in_groups_by_template(tmp_path: Path, language: str) -> None:
    counts = write_intents_csv(tmp_path / "rows.csv", language)
    rows = pl.read_csv(tmp_path / "rows.csv", infer_schema=False)
    assert tuple(rows.columns) == COLUMNS
    assert dict(rows.group_by("label").len().iter_rows()) == counts
    assert len(counts) >= 30
    assert 3000 <= len(rows) <= 7000
    assert rows.get_column("text").str.to_lowercase().n_unique() == len(rows)
    assert rows.group_by("label").agg(pl.col("group").n_unique()).get_column("group").min() >= MIN_GROUPS  # type: ignore[operator]
    assert not rows.get_column("text").str.contains(r"[\[\]{}<>|]").any()  # nothing of a template is left


def test_an_unknown_language_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    assert len(languages()) > 50
    with pytest.raises(NotFound, match=r"no intents in 'en-GB'; expected one of af, ar"):
        write_intents_csv(tmp_path / "rows.csv", "en-GB")
