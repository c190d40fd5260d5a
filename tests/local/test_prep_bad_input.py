"""Bad input of prep: one line that says where, what was given, what is allowed and what to do; exit code 2."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from shipway.components.prep import launch
from shipway.components.prep.spec import DatasetSpec
from shipway.storage import Store

GOOD = "text,label\n" + "".join(f"switch on lamp {n},on\nswitch off lamp {n},off\n" for n in range(40))
SIDED = "text,label,side\n" + "".join(f"lamp {n} on,on,train\nlamp {n} off,off,train\n" for n in range(20))
QUARTER_BAD = "text,label\n" + "".join(f"lamp {n},on\n,off\nlamp {n} off,off\nstop {n},off\n" for n in range(10))


def written(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """A maker of one file."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def empty_folder(folder: Path) -> Path:
    (folder / "rows").mkdir()
    return folder / "rows"


def parquet_without_label(folder: Path) -> Path:
    pl.DataFrame({"text": ["a"], "intent": ["b"]}).write_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


CASES = [
    ("no such file", lambda folder: folder / "rows.csv", {}, "rows.csv"),
    ("an empty folder", empty_folder, {}, "empty"),
    ("an unknown kind", written("rows.xlsx", "x"), {}, "unsupported format '.xlsx'"),
    ("an empty file", written("rows.csv", ""), {}, "is empty; expected a header and rows"),
    ("a header only", written("rows.csv", "text,label\n"), {}, "has a header but no rows"),
    (
        "a missing column",
        written("rows.csv", GOOD),
        {"label_column": "lable"},
        "it has text, label (did you mean 'label'?)",
    ),
    ("a missing group column", written("rows.csv", GOOD), {"group_column": "who"}, "group_column: no column 'who'"),
    (
        "a Parquet file without the column",
        parquet_without_label,
        {},
        "no column 'label' in 'rows.parquet'; it has text",
    ),
    ("one class", written("rows.csv", GOOD.replace("off\n", "on\n")), {}, "all 80 rows have the label 'on'"),
    ("not UTF-8", written("rows.csv", GOOD.replace("lamp", "caf\xe9").encode("latin-1")), {}, "not UTF-8: byte 0xe9"),
    ("a header that is not UTF-8", written("rows.csv", b"t\xe9xt,label\na,b\n"), {}, "header is not UTF-8; convert"),
    ("UTF-16", written("rows.csv", GOOD.encode("utf-16")), {}, "is UTF-16; convert it: iconv"),
    ("a binary file", written("rows.csv", b"text,label\n\0\1\2"), {}, "NUL bytes"),
    ("a column twice", written("rows.csv", "text,label,text\na,b,c\n"), {}, "column 'text' stands in the header twice"),
    ("a broken gzip", written("rows.csv.gz", gzip.compress(GOOD.encode())[:-9]), {}, "cannot be read"),
    ("no gzip at all", written("rows.csv.gz", GOOD), {}, "cannot be read: Not a gzipped file"),
    ("a broken Parquet", written("rows.parquet", b"PAR1 no PAR1"), {}, "cannot be read as Parquet"),
    ("a JSON array", written("rows.json", '[{"text": "a"}]'), {}, "write one object a line: jq"),
    (
        "no JSON at all",
        written("rows.jsonl", "hello\nworld\n"),
        {},
        "no line of its beginning is a JSON object (not JSON",
    ),
    (
        "an unknown split",
        written("rows.csv", SIDED + "x,on,holdout\n"),
        {"split_column": "side"},
        "'holdout' is no split",
    ),
    (
        "no training rows",
        written("rows.csv", SIDED.replace("train", "test")),
        {"split_column": "side"},
        "no row stands in train (40 in test); name some rows 'train'",
    ),
    (
        "a label that only test has",
        written("rows.csv", SIDED + "lamp,on,eval\nx,odd,test\n"),
        {"split_column": "side", "on_unseen_label": "error"},
        "1 label(s) of test have no row in train: 'odd' (1 rows)",
    ),
    (
        "too many bad rows",
        written("rows.csv", QUARTER_BAD),
        {},
        "10 of 40 rows are bad (25.0%, max_bad_fraction allows 5.0%): 10 with empty text (for example rows.csv row 2",
    ),
    (
        "the wrong quoting",
        written("rows.csv", GOOD.replace("on lamp 1,", '"on" lamp 1",')),
        {"delimiter": ";"},
        "it has text,label",
    ),
    ("a wrong parameter", written("rows.csv", GOOD), {"recipe": "intent"}, "did you mean 'intents'"),
    ("a wrong encoder parameter", written("rows.csv", GOOD), {"encoder": {"bucket": 1}}, "dataset.encoder.bucket"),
    ("another scheme", lambda _: "ftp://host/rows.csv", {}, "unknown scheme 'ftp'"),
]


@pytest.mark.parametrize(("make", "changes", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_mistake_is_one_line_and_nothing_is_published(
    make: Callable[[Path], Path],
    changes: dict[str, object],
    message: str,
    tmp_path: Path,
    local_store_uri: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spec = DatasetSpec(name="bot", data=str(make(tmp_path)), **changes)  # type: ignore[arg-type]
    outputs = SimpleNamespace(path=str(tmp_path / "d.json")), SimpleNamespace(path=str(tmp_path / "d.html"))
    with pytest.raises(SystemExit) as ended:
        launch.dataset(spec.model_dump_json(), *outputs)
    said = capfd.readouterr().err
    assert ended.value.code == 2
    assert message in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not Path(outputs[0].path).exists()
    published = [info.key for info in Store.open(local_store_uri).list("datasets")]
    assert not [key for key in published if "quarantine" not in key]


def test_the_message_about_bad_rows_names_a_quarantine_that_is_there(
    tmp_path: Path, local_store_uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text(QUARTER_BAD)
    output = SimpleNamespace(path=str(tmp_path / "out"))
    with pytest.raises(SystemExit):
        launch.dataset(DatasetSpec(name="bot", data=str(tmp_path / "rows.csv")).model_dump_json(), output, output)
    uri = capfd.readouterr().err.rpartition(" lie in ")[2].strip()
    store = Store.open(uri)
    rows = pl.concat([pl.read_parquet(store.get(info.key)) for info in store.list()])
    assert rows.get_column("row").to_list() == list(range(2, 40, 4))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (GOOD.replace("on lamp 1,", '"on" lamp 1,'), 80),
        (GOOD + "x" * 20_000 + ",on\n", 80),
        (GOOD + '"an open quote,on\n', 81),
        (GOOD + "\n\n \n", 80),
    ],
    ids=["stray quotes", "a huge field", "an open quote at the end", "blank lines"],
)
def test_what_can_be_read_is_read(content: str, rows: int, tmp_path: Path, local_store_uri: str) -> None:
    from shipway.components.prep.make import make_dataset

    (tmp_path / "rows.csv").write_text(content)
    manifest, _ = make_dataset(DatasetSpec(name="bot", data=str(tmp_path / "rows.csv")), Store.open(local_store_uri))
    assert sum(part.rows for part in manifest.splits.values()) == rows
