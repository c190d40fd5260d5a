"""What is skipped, set aside, folded or left out stands in the manifest, the report and the plan."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shipway.artifacts import DatasetManifest
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData, InvalidSpec
from shipway.storage import Store

BODY = "".join(f"switch on lamp {n},on\nswitch off lamp {n},off\n" for n in range(60))
GOOD = "text,label\n" + BODY


def prepared(store_uri: str, data: object, **changes: Any) -> tuple[DatasetManifest, dict[str, Any], str]:
    """The manifest, what it says of the reading, and the report's HTML."""
    store = Store.open(store_uri)
    manifest, _ = make_dataset(DatasetSpec(name="bot", data=str(data), **changes), store)
    reading: dict[str, Any] = manifest.statistics["reading"]  # type: ignore[assignment]
    return manifest, reading, store.get(f"{manifest.uri.removeprefix(f'{store_uri}/')}/report.html").decode()


def rows_of(manifest: DatasetManifest, store_uri: str) -> pl.DataFrame:
    store = Store.open(store_uri)
    prefix = manifest.uri.removeprefix(f"{store_uri}/")
    files = [file.path for part in manifest.splits.values() for file in part.row_files]
    return pl.concat([pl.read_parquet(store.get(f"{prefix}/{path}")) for path in files])


def total(manifest: DatasetManifest) -> int:
    return sum(part.rows for part in manifest.splits.values())


FOLDER = {
    "a.csv": GOOD,
    "deep/b.csv": "text,label\nmore,on\n",
    "notes.txt": "text,label\nnot,read\n",
    "extra.json": '{"text": "not", "label": "read"}\n',
    ".ipynb_checkpoints/a-checkpoint.csv": GOOD,
    "_SUCCESS": "",
    "deep/.b.csv.crc": "x",
    "__MACOSX/a.csv": "x",
    "_temporary/0/part.csv": GOOD,
    "empty.csv": "",
}


def test_one_rule_says_what_is_read_of_a_folder_here_and_on_s3(store_uri: str, tmp_path: Path) -> None:
    store = Store.open(store_uri)
    for name, content in FOLDER.items():
        path = tmp_path / "rows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        store.put(f"in/{name}", content.encode())
    here = prepared(store_uri, tmp_path / "rows")
    there = prepared(store_uri, f"{store_uri}/in")
    for manifest, reading, report in (here, there):
        assert total(manifest) == 121
        assert set(reading["skipped"]) == set(FOLDER) - {"a.csv", "deep/b.csv"}
        assert reading["skipped_files"] == 8
        assert reading["skipped"]["notes.txt"].startswith("read only where it is named itself")
        assert reading["skipped"]["empty.csv"] == "it is empty"
        assert "notes.txt" in report
        assert "How the source was read" in report
        assert any("8 files of the source are skipped" in note for note in manifest.statistics["notes"])  # type: ignore[union-attr]
    assert here[1]["skipped"] == there[1]["skipped"]


@pytest.mark.parametrize("name", ["part-00000", "part-00001-3f2a-c000.c000", "part-00000.gz", "0000_part_00", "x.csv"])
def test_part_files_of_any_name_are_read_where_the_format_is_given(
    name: str, local_store_uri: str, tmp_path: Path
) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / name).write_bytes(gzip.compress(GOOD.encode()) if name.endswith(".gz") else GOOD.encode())
    for beside in ("_SUCCESS", f".{name}.crc", f"{name}.crc", "README.md", "other.parquet"):
        (folder / beside).write_text("no rows")
    manifest, reading, _ = prepared(local_store_uri, folder, format="csv")
    assert total(manifest) == 120
    assert len(reading["skipped"]) == 5
    assert reading["skipped"]["other.parquet"] == "its name says parquet, format=csv is given"
    assert total(prepared(local_store_uri, folder / name, format="csv")[0]) == 120
    if not name.endswith(".csv"):
        with pytest.raises(InvalidData, match=r"name the format by overrides.dataset.format"):
            prepared(local_store_uri, folder / name)


ALIKE = {
    "caf\u00e9": "cafe\u0301",
    "Light On": "light on",
    "stop": "st\u200bop",
    "turn up": "turn\u00a0up",
    "7": "7.0",
}


def alike_rows(folder: Path) -> Path:
    rows = [
        (f"{label} text {n} {unicodedata.name(label[0])}", label if n % 3 else other)
        for label, other in ALIKE.items()
        for n in range(60)
    ]
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(folder / "rows.csv")
    return folder / "rows.csv"


def test_labels_that_look_alike_are_named_pairwise_and_folded_on_demand(local_store_uri: str, tmp_path: Path) -> None:
    data = alike_rows(tmp_path)
    manifest, reading, report = prepared(local_store_uri, data, on_unseen_label="quarantine")
    [note] = [note for note in manifest.statistics["notes"] if "look alike" in note]  # type: ignore[union-attr]
    assert len(manifest.labels) == 10
    assert note.startswith("5 pairs of labels look alike")
    assert "'caf\\xe9' (40 rows) and 'cafe\\u0301' (20)" in note
    assert "labels.fold=case makes them one" in note
    assert "the same number" in note
    assert "look alike" in report
    unicode, reading, report = prepared(local_store_uri, data, labels={"fold": "unicode"}, on_unseen_label="quarantine")
    assert unicode.labels == ["7", "7.0", "Light On", "caf\u00e9", "light on", "stop", "turn up"]
    assert reading["labels"]["how"] == "fold=unicode"
    assert reading["labels"]["rows"] == 60
    assert "label read (fold=unicode)" in report
    case, reading, _ = prepared(local_store_uri, data, labels={"fold": "case"}, on_unseen_label="quarantine")
    assert case.labels == ["7", "7.0", "caf\u00e9", "light on", "stop", "turn up"]
    assert reading["labels"]["rows"] == 100


SAME_TO_THE_EYE = [
    ("\u0441op", "cop"), ("turn\u2011on", "turn-on"), ("\u2764\ufe0f", "\u2764"), ("it\u2019s", "it's"),
    ("o\u034fn", "on"), ("\u03a1AY", "PAY"), ("on\u3164", "on"), ("007", "7"),
    ("1.50", "1.5"), ("1e3", "1000"), ("-0", "0"), ("+8", "8.0"),
    ("1" + "0" * 40, "1e40"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "other"), SAME_TO_THE_EYE, ids=ascii)
def test_labels_are_the_same_to_the_eye_or_as_numbers(first: str, other: str) -> None:
    from shipway.tasks.classification.labels import notes

    [note] = notes({first: 3, other: 2, "another": 1})
    assert note.startswith("1 pairs of labels look alike")
    assert ascii(first) in note


@pytest.mark.parametrize(
    ("first", "other"),
    [("7", "70"), ("1" * 40, "1" * 39 + "2"), ("\U0001f3f4\U000e0067", "\U0001f3f4"), ("v1.10", "v1.1")],
)
def test_labels_that_differ_are_not_called_alike(first: str, other: str) -> None:
    from shipway.tasks.classification.labels import notes

    assert notes({first: 1, other: 1}) == []


def test_labels_that_are_no_names_are_set_aside(local_store_uri: str, tmp_path: Path) -> None:
    wrong = ["NaN", "nan", "<NA>", '"[""a""]"', "['a']", '"{""name"": ""b""}"', "[]", "\u200b", "\u00a0"]
    (tmp_path / "rows.csv").write_text(GOOD + "".join(f"text {n},{label}\n" for n, label in enumerate(wrong)))
    manifest, _, _ = prepared(local_store_uri, tmp_path / "rows.csv", max_bad_fraction=0.5, quoting="csv")
    assert manifest.labels == ["off", "on"]
    assert manifest.quarantined_rows == len(wrong)
    assert manifest.statistics["bad"] == {
        "empty label": 2,
        "label is NaN, a list or an object, not the name of a class": 7,
    }
    (tmp_path / "lists.jsonl").write_text('{"text": "a", "label": ["x"]}\n' * 5)
    with pytest.raises(InvalidData, match=r"5 of 5 rows are bad .*column 'label' holds a JSON list"):
        prepared(local_store_uri, tmp_path / "lists.jsonl")
    with pytest.raises(InvalidData, match="none of 5 rows is good"):
        prepared(local_store_uri, tmp_path / "lists.jsonl", max_bad_fraction=1)


def test_labels_that_are_no_names_of_one_line_are_set_aside(local_store_uri: str, tmp_path: Path) -> None:
    wrong = ["o\nn", "o\tn", "o\rn", "o\u2028n", "o\x85n", "x" * 201]
    frame = pl.DataFrame({"text": [f"lamp {n}" for n in range(120)], "label": ["on", "off"] * 60})
    more = pl.DataFrame({"text": [f"text {n}" for n in range(7)], "label": [*wrong, "x" * 200]})
    pl.concat([frame, more]).write_parquet(tmp_path / "rows.parquet")
    manifest, _, _ = prepared(local_store_uri, tmp_path / "rows.parquet", on_unseen_label="count")
    assert manifest.labels == ["off", "on", "x" * 200]
    assert manifest.statistics["bad"] == {
        "line break, tab or control character in the label": 5,
        "label longer than 200 characters": 1,
    }
    assert not [note for note in manifest.statistics["notes"] if len(note.splitlines()) > 1]  # type: ignore[union-attr]


def test_a_users_columns_keep_their_values_whatever_they_are_called(local_store_uri: str, tmp_path: Path) -> None:
    names = ["label", "text", "_row", "_piece", "*", "^a.*$", "row_id", "split", "group", "group_hash", "predicted"]
    columns = {"say": [], "source_label": [], **{name: [] for name in names}}  # type: ignore[var-annotated]
    for n in range(120):
        columns["say"].append(f"lamp {n}")
        columns["source_label"].append("on" if n % 2 else "off")
        for name in names:
            columns[name].append(f"{name} of {n}")
    pl.DataFrame(columns).write_parquet(tmp_path / "rows.parquet")
    manifest, _, _ = prepared(
        local_store_uri, tmp_path / "rows.parquet", input={"column": "say"}, label_column="source_label"
    )
    assert manifest.labels == ["off", "on"]
    for row in rows_of(manifest, local_store_uri).to_dicts():
        number = row["text"].removeprefix("lamp ")
        for name in names:
            assert row[f"source_{name}"] == f"{name} of {number}"


def test_columns_and_copies_that_only_the_rows_show_are_noted(local_store_uri: str, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    lines = "".join(f'{{"text": "lamp {n}", "label": "{"on" if n % 2 else "off"}"}}\n' for n in range(1_200))
    (tmp_path / "rows/a.jsonl").write_text(lines + '{"text": "late", "label": "on", "city": "B"}\n')
    (tmp_path / "rows/a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    manifest, reading, report = prepared(local_store_uri, tmp_path / "rows")
    assert total(manifest) == 2_401
    assert reading["unread"] == {"city": 1}
    notes = " ".join(manifest.statistics["notes"])  # type: ignore[arg-type]
    assert "have none of them: 'city' (1 rows)" in notes
    assert "a.jsonl and a.jsonl.gz are both read: if one is a copy of the other, its rows count twice" in notes
    assert "city" in report


def test_slices_over_no_column_are_refused_before_anything_is_trained_wherever_the_rows_are(
    store_uri: str, tmp_path: Path
) -> None:
    store = Store.open(store_uri)
    store.put("in/a.csv", GOOD.replace("\n", ",B\n").replace("label,B", "label,city").encode())
    manifest, reading, _ = prepared(store_uri, f"{store_uri}/in")
    assert reading["columns"] == ["text", "label", "group", "split", "row_id", "city"]
    assert set(reading["columns"]) == set(rows_of(manifest, store_uri).columns)
    for seed in (0, 1):  # of a dataset that is there, and of one that is not
        with pytest.raises(InvalidSpec, match=r"no column 'citty'; expected one of text, .*did you mean 'city'"):
            prepared(store_uri, f"{store_uri}/in", slices=["citty"], seed=seed)
    assert prepared(store_uri, f"{store_uri}/in", slices=["city"])[0].fingerprint == manifest.fingerprint


@pytest.mark.parametrize(
    ("train", "others", "choice", "says"),
    [
        ("a", "ab", "count", "all 40 rows of train have the label 'a'; classification needs rows of at least two"),
        ("ab", "cc", "count", r"train has no row of any label of test \('c'\), so that test measures nothing"),
        ("ab", "cc", "quarantine", r"train has no row of any label of test \('c'\).*give train rows of them"),
        ("ab", "cc", "error", "on_unseen_label"),
    ],
)
def test_sides_that_can_teach_or_measure_nothing_are_refused(
    train: str, others: str, choice: str, says: str, local_store_uri: str, tmp_path: Path
) -> None:
    sides = {"train": train * (40 // len(train)), "eval": others * 5, "test": others * 5}
    rows = [f"{side} {n},{label},{side}" for side, labels in sides.items() for n, label in enumerate(labels)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,side", *rows, ""]))
    with pytest.raises(InvalidData, match=says):
        prepared(local_store_uri, tmp_path / "rows.csv", split_column="side", on_unseen_label=choice)


def test_the_plan_says_what_is_skipped_and_how_quotes_are_read(tmp_path: Path) -> None:
    from shipway.planning import find, resolve

    (tmp_path / "a.csv").write_text(GOOD + '"lamp,on\n"light,on\n')
    (tmp_path / "b.txt").write_text(GOOD)
    skipped, quotes = resolve(find("train_and_deploy"), {"name": "bot", "data": str(tmp_path)}).notes[-2:]
    assert skipped.startswith("1 files of the source are skipped: b.txt (read only where it is named itself")
    assert quotes.startswith("a.csv: 2 fields of its beginning open with a quote")
