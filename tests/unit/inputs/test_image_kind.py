"""What the input `image` says of a row beside its pixels: which file it is, and what a person types for it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shipway.inputs import bind_input, load_input
from shipway.inputs.base import BadRequest
from shipway.inputs.image.samples import png

PNG = png(2, 3)


@pytest.mark.parametrize(
    ("column", "kept"),
    [("path", "path"), ("file_name", "file_name"), ("image", "source_image"), ("group", "source_group")],
)
def test_a_page_names_files_by_the_column_that_the_dataset_has_for_them(column: str, kept: str) -> None:
    rows = pl.DataFrame({"image": [PNG, PNG], "group": ["x", "x"], kept: ["a/ä.png", None]})
    bound = bind_input(load_input("image"), {"path_column": column}, "here")
    shown = f"PNG 2x3, {len(PNG)} bytes"
    assert bound.preview(rows).to_list() == [f"a/ä.png, {shown}", shown]


def test_a_person_types_the_rows_file_where_it_lies_here(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(PNG)
    (tmp_path / "labels.csv").write_text("path,label\n")
    kind: Any = load_input("image")
    for source in (tmp_path, tmp_path / "labels.csv"):
        for named in ("a/1.png", "a\\1.png", str(tmp_path / "a/1.png")):
            assert kind.example_line(str(source), {"path": named}) == str(tmp_path / "a/1.png")
    for source, row in (
        (tmp_path, {"path": "a/2.png"}),
        ("s3://b/photos", {"path": "a/1.png"}),
        (tmp_path, {"label": "x"}),
    ):
        assert kind.example_line(str(source), row) == "photo.jpg"
    rooted: Any = bind_input(kind, {"root": str(tmp_path / "a")}, "here")
    assert rooted.example_line("s3://b/rows.parquet", {"path": "1.png"}) == str(tmp_path / "a/1.png")


def test_a_line_that_names_no_file_is_told_once(tmp_path: Path) -> None:
    kind = load_input("image")
    with pytest.raises(BadRequest, match=r"^'gone.jpg': no such file; expected the path of an image"):
        kind.from_line("gone.jpg")
    with pytest.raises(BadRequest, match=r"cannot be read: embedded null byte$|no such file"):
        kind.from_line("a\0b")


def test_base64_of_addresses_is_base64_too() -> None:
    kind, data = load_input("image"), PNG + b"\xfb\xff"
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        assert kind.read_instance({"b64": text}, "instances[0]", kind.Limits()) == data
