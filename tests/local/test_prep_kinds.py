"""Prep of rows that are no texts, of labels that are no classes or several, and of files in an input's own format."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shipway.components.prep import make
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData, InvalidSpec
from shipway.storage import Store
from shipway.tasks.spans.spans import parse
from tests.fixtures import named, tagged
from tests.fixtures.own_kinds import write_pack
from tests.fixtures.records import parsed_shards
from tests.local.test_prep import hashes_of, rows_of

KINDS = "tests.fixtures.own_kinds"


def of(recipe: str, data: Path, **more: Any) -> DatasetSpec:
    return DatasetSpec(name="bot", data=str(data), recipe=f"{KINDS}:{recipe}", **more)


@pytest.fixture
def store(local_store_uri: str) -> Store:
    return Store.open(local_store_uri)


@pytest.fixture
def areas(tmp_path: Path) -> Path:
    """300 rows of three numbers and an area, 6 of them bad, and a column that is called like no column of ours."""
    choose = random.Random(0)
    rows = [(choose.randint(1, 90), round(choose.random(), 3), n % 5) for n in range(294)]
    lines = [f"{w},{h},{d},{w * h:.4f},room {n}" for n, (w, h, d) in enumerate(rows)]
    lines += ["wide,1,1,2.0,a", ",1,1,2.0,b", "1,1,inf,2.0,c", "1,1,1,large,d", "1,1,1,,e", "1,1,1,nan,f"]
    (tmp_path / "areas.csv").write_text("\n".join(["wide,high,deep,area,text", *lines, ""]))
    return tmp_path / "areas.csv"


def spec_of_areas(data: Path, **more: Any) -> DatasetSpec:
    return of("numbers", data, input={"columns": ["wide", "high"]}, label_column="area", **more)


def test_numbers_become_a_dataset_without_classes(store: Store, areas: Path) -> None:
    manifest, _ = make_dataset(spec_of_areas(areas), store)
    rows = rows_of(store, manifest)
    assert rows.columns == ["row_id", "number_0", "number_1", "label", "group", "split", "deep", "text"]
    assert (len(rows), manifest.quarantined_rows) == (295, 5)  # a depth without end is no number of the input
    assert (manifest.task, manifest.input, manifest.labels) == ("number", "table", [])
    assert manifest.input_params == {"columns": ["wide", "high"]}
    assert manifest.targets["label"].dtype == "float32"
    assert {name: side.class_counts for name, side in manifest.splits.items()} == {"train": {}, "eval": {}, "test": {}}
    statistics: Any = manifest.statistics
    assert statistics["size"]["p50"] == 2
    assert statistics["label_numbers"]["max"] == rows["label"].cast(pl.Float64).max()
    assert statistics["bad"] == {"a cell is no number": 2, "label is no number": 3}
    records = parsed_shards(store, manifest)
    for split in manifest.splits:
        expected = rows.filter(pl.col("split") == split).select(pl.col("number_0", "label").cast(pl.Float32))
        assert sorted((round(r["value"][0], 3), round(r["label"][0], 3)) for r in records[split]) == sorted(
            (round(width, 3), round(area, 3)) for width, area in expected.rows()
        )
    assert "numbers p50" in store.get(f"{manifest.uri.removeprefix(f'{store.uri}/')}/report.html").decode()


def test_rows_of_equal_numbers_are_one_group_however_they_are_written(store: Store, tmp_path: Path) -> None:
    lines = [f"{w}{end},{h},{w * h}" for w in range(9) for h in range(9) for end in ("", ".0", ".00")]
    (tmp_path / "rows.csv").write_text("\n".join(["wide,high,area", *lines, ""]))
    rows = rows_of(store, make_dataset(spec_of_areas(tmp_path / "rows.csv"), store)[0])
    assert rows.group_by("group").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 81
    assert rows["row_id"].n_unique() == 243


def blobs(folder: Path) -> Path:
    choose = random.Random(1)
    (folder / "in").mkdir()
    for part in range(2):
        rows = [(choose.randbytes(1 + n % 40), choose.choice(["cat", "dog"])) for n in range(150)]
        write_pack(folder / f"in/part-{part}.pack", rows if part else [*rows, (b"", "cat")])
    (folder / "in/readme.md").write_text("none of the rows")
    return folder / "in"


def test_an_input_reads_files_of_a_format_of_its_own(store: Store, tmp_path: Path) -> None:
    manifest, _ = make_dataset(of("blobs", blobs(tmp_path), label_column="kind"), store)
    rows = rows_of(store, manifest)
    assert rows.schema["blob"] == pl.Binary
    assert (len(rows), manifest.labels) == (300, ["cat", "dog"])
    [bad] = pl.read_parquet(
        store.get(f"{manifest.uri.removeprefix(f'{store.uri}/')}/{manifest.quarantine[0].path}")
    ).to_dicts()
    assert (bad["source"], bad["row"], bad["reason"]) == ("part-0.pack", 151, "no bytes")
    assert '"blob":"0 bytes"' in bad["raw"]
    records = parsed_shards(store, manifest)
    for split, found in records.items():
        given = rows.filter(pl.col("split") == split)
        assert sorted((r["value"][0], manifest.labels[r["label"][0]]) for r in found) == sorted(
            given.select("blob", "label").rows()
        )
    assert make_dataset(of("blobs", tmp_path / "in", label_column="kind"), store) == (manifest, True)


def test_several_processes_read_an_own_format_and_write_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = of("blobs", blobs(tmp_path), label_column="kind")
    alone, _ = make_dataset(spec, store)
    monkeypatch.setattr(make, "POOL_BYTES", 0)
    monkeypatch.setenv(make.WORKERS, "2")
    together, found = make_dataset(spec, Store.open(f"file://{tmp_path}/other"))
    assert not found
    assert hashes_of(together) == hashes_of(alone)
    assert together.statistics == alone.statistics


def test_a_format_that_no_input_has_is_named_with_those_there_are(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"dataset.format: unknown format 'pakc'; .*parquet, pack \(did you mean 'pa"):
        make_dataset(of("blobs", blobs(tmp_path), label_column="kind", format="pakc"), store)
    with pytest.raises(InvalidSpec, match=r"dataset.format: unknown format 'pack'; expected one of auto, csv"):
        make_dataset(DatasetSpec(name="bot", data=str(tmp_path / "in"), format="pack"), store)
    with pytest.raises(InvalidData, match=r"label_column: no column 'label' in 'part-0.pack'; it has content, kind"):
        make_dataset(of("blobs", tmp_path / "in"), store)
    with pytest.raises(InvalidData, match=r"group_column: column 'content' in 'part-0.pack' holds bytes"):
        make_dataset(of("blobs", tmp_path / "in", label_column="kind", group_column="content"), store)
    (tmp_path / "in/part-0.pack").write_bytes(b"cut")
    with pytest.raises(InvalidData, match=r"data: 'part-0.pack' cannot be read: error: unpack_from") as caught:
        make_dataset(of("blobs", tmp_path / "in", label_column="kind"), store)
    assert "\n" not in str(caught.value)


def test_rows_may_name_several_classes_and_are_left_out_for_one_of_them(store: Store, tmp_path: Path) -> None:
    sides = {"train": ["a b", "b", "c a a"], "eval": ["a", "b c"], "test": ["a x", "b", "x y", "c"]}
    rows = [
        f"{side} text {n} {k},{label},{side}"
        for side, labels in sides.items()
        for n, label in enumerate(labels)
        for k in range(20)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,split", *rows, ""]))
    more = {"split_column": "split", "on_unseen_label": "quarantine"}
    manifest, _ = make_dataset(of("tags", tmp_path / "rows.csv", **more), store)
    assert manifest.labels == ["a", "b", "c"]
    assert manifest.splits["train"].class_counts == {"a": 40, "b": 40, "c": 20}
    assert manifest.splits["test"].class_counts == {"b": 20, "c": 20}
    assert manifest.splits["test"].left_out == {"x": 40, "y": 20}
    assert (manifest.splits["test"].rows, manifest.quarantined_rows) == (40, 40)
    assert set(rows_of(store, manifest, "train")["label"]) == {"a b", "b", "a c"}
    assert manifest.targets["label_tags"].shape == [3]
    hot = {tuple(record["label_tags"]) for record in parsed_shards(store, manifest)["train"]}
    assert hot == {(1, 1, 0), (0, 1, 0), (1, 0, 1)}
    notes: Any = manifest.statistics["notes"]
    assert "3 tags" in notes
    assert any(note.startswith("up to 60 of 80 rows of test have labels without training rows") for note in notes)
    counted, _ = make_dataset(of("tags", tmp_path / "rows.csv", split_column="split"), store)
    test = counted.splits["test"]
    assert (test.rows, test.encoded_rows, test.class_counts["x"]) == (80, 40, 40)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("wrong_input", r"input 'table' has a column 'row_id'; expected names other than label, group, split, row_id"),
        ("wrong_target", r"its task has a target 'value'; expected one that begins with label"),
    ],
)
def test_an_input_or_task_whose_names_meet_ours_is_refused(store: Store, areas: Path, recipe: str, says: str) -> None:
    spec = spec_of_areas(areas).model_copy(update={"recipe": f"{KINDS}:{recipe}"})
    with pytest.raises(InvalidSpec, match=says):
        make_dataset(spec, store)


def test_lists_of_json_lines_are_tags_and_objects_are_none(store: Store, tmp_path: Path) -> None:
    rows = tagged.rows(200).select("text", "label")
    lines = [json.dumps({"text": text, "label": json.loads(label)}) for text, label in rows.iter_rows()]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, '{"text": "a", "label": {"Pool": true}}']))
    spec = DatasetSpec(
        name="homes", data=str(tmp_path / "rows.jsonl"), recipe=tagged.REFERENCE, labels={"allow_none": True}
    )
    manifest, _ = make_dataset(spec, store)
    assert (manifest.labels, manifest.quarantined_rows) == (list(tagged.TAGS), 1)
    assert sorted(map(json.loads, rows_of(store, manifest)["label"])) == sorted(map(json.loads, rows["label"]))


def test_spans_are_checked_against_their_texts_and_become_tags(store: Store, tmp_path: Path) -> None:
    good = named.rows(300).select("text", "label")
    bad = pl.DataFrame(
        {
            "text": ["🏔 two", "two rooms", "hello", "two", ""],
            "label": ['[[2,6,"number"]]', '[[0,3,"number"],[2,9,"room"]]', "room", "", '[[0,3,"number"]]'],
        }
    )
    spelled = pl.DataFrame({"text": ["🏔 two"], "label": ['[{"end": 5, "start": 2, "type": "number"}]']})
    pl.concat([good, bad, spelled]).write_csv(tmp_path / "rows.csv")
    manifest, _ = make_dataset(
        DatasetSpec(name="slots", data=str(tmp_path / "rows.csv"), recipe=named.REFERENCE), store
    )
    statistics: Any = manifest.statistics
    assert statistics["bad"] == {
        "a span ends behind the text": 1,
        "two spans overlap; each character belongs to one span at most": 1,
        "label is not JSON; expected a list of [start, end, type], [] for none": 1,
        "empty label; a row without spans has []": 1,
        "empty text": 1,
    }
    assert (manifest.task, manifest.labels) == ("spans", ["number", "room", "song"])
    rows = rows_of(store, manifest)
    assert len(rows) == 301
    assert rows.filter(pl.col("text") == "🏔 two")["label"].to_list() == ['[[2,5,"number"]]']
    records = [record for split in parsed_shards(store, manifest).values() for record in split]
    assert all(len(record["label"]) == len(record["tokens"]) for record in records)
    begun = sum((np.array(record["label"]) % 2 == 1).sum() for record in records)
    assert begun == sum(len(parse(label)) for label in rows["label"])
