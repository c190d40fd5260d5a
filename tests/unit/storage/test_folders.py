"""Every file of a folder is read once, or its absence is said: links, loops, pipes, names in other encodings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shipway.errors import InvalidData
from shipway.storage.sources import fetch_source, fingerprint_source, skipped_files

ROWS = "text,label\na,on\n"
Make = str | Callable[[Path], object]


def linked(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def folder_of(top: Path, files: dict[str, Make]) -> str:
    for name, made in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _ = path.write_text(made) if isinstance(made, str) else made(path)
    return str(top)


def names(uri: str) -> list[str]:
    return [str(path.relative_to(uri)) for path in fetch_source(uri, "")]


@pytest.mark.parametrize(
    ("files", "read", "skipped"),
    [
        ({"a.csv": ROWS, "more": linked("../other")}, ["a.csv", "more/b.csv"], {}),
        ({"a.csv": ROWS, "loop": linked(".")}, ["a.csv"], {"loop": "a link to '.', which is read itself"}),
        ({"x/a.csv": ROWS, "x/up": linked("../..")}, ["x/a.csv"], {"x/up": "a link to a folder around this one"}),
        ({"a.csv": ROWS, "latest.csv": linked("a.csv")}, ["a.csv"],
         {"latest.csv": "a link to 'a.csv', which is read itself"}),
        ({"24/a.csv": ROWS, "latest": linked("24")}, ["24/a.csv"], {"latest": "a link to '24', which is read itself"}),
        # what a link leads to is hidden, or has no name that says rows: as mounted volumes and caches of models have it
        ({"..24/a.csv": ROWS, "..data": linked("..24"), "a.csv": linked("..data/a.csv")}, ["a.csv"],
         {"..24/a.csv": ""}),
        ({".v/3/a.csv": ROWS, "now": linked(".v/3")}, ["now/a.csv"], {".v/3/a.csv": ""}),
        ({"blobs/abc": ROWS, "rows/a.csv": linked("../blobs/abc")}, ["rows/a.csv"], {"blobs/abc": ""}),
        ({"a": linked("b"), "b/c": linked(".."), "b/a.csv": ROWS}, ["b/a.csv"], {"a": "", "b/c": ""}),
    ],
)  # fmt: skip
def test_links_are_followed_and_no_file_is_read_twice(
    files: dict[str, Make], read: list[str], skipped: dict[str, str], tmp_path: Path
) -> None:
    folder_of(tmp_path / "other", {"b.csv": ROWS})
    uri = folder_of(tmp_path / "rows", files)
    assert names(uri) == read
    left = skipped_files(uri)
    assert set(left) == set(skipped)
    assert all(left[name] == why for name, why in skipped.items() if why)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (linked("/nowhere/x.csv"), "'b.csv' is a link to '/nowhere/x.csv', which is not there; fetch or remove it"),
        (linked("b.csv"), "'b.csv' is a link to 'b.csv', which is not there"),
        (os.mkfifo, "'b.csv' is neither a file nor a folder"),
    ],
)
def test_what_is_named_like_rows_and_cannot_be_read_is_refused(made: Make, says: str, tmp_path: Path) -> None:
    uri = folder_of(tmp_path, {"a.csv": ROWS, "b.csv": made})
    with pytest.raises(InvalidData, match=says):
        fingerprint_source(uri)


def test_a_folder_that_may_not_be_looked_into_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:  # below one that other users may enter
        uri = folder_of(Path(folder), {"a.csv": ROWS, "closed/b.csv": ROWS})
        Path(folder).chmod(0o755)
        (Path(folder) / "closed").chmod(0)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)  # root may look into everything
        try:
            with pytest.raises(InvalidData, match="closed' cannot be looked into: Permission denied"):
                fetch_source(uri, "")
        finally:
            os.seteuid(me)
            (Path(folder) / "closed").chmod(0o700)


def test_a_name_that_is_no_utf8_is_written_readably(tmp_path: Path) -> None:
    for name in (b"caf\xe9.csv", b"caf\xe9.txt"):
        (tmp_path / os.fsdecode(name)).write_text(ROWS)
    assert len(fingerprint_source(str(tmp_path))) == 16
    assert list(skipped_files(str(tmp_path))) == ["caf\\xe9.txt"]
    with pytest.raises(InvalidData, match="the name is not UTF-8, and stands in records; rename it"):
        fingerprint_source(str(tmp_path / os.fsdecode(b"caf\xe9.csv")))
