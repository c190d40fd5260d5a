"""prep.dataset from a file to published shards, and its four steps one by one."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import zstandard

from shipway.artifacts import DatasetManifest
from shipway.components.prep import core, launch, make, pool, sources
from shipway.components.prep.spec import DatasetSpec
from shipway.demos.intents import write_intents_csv
from shipway.errors import InvalidData
from shipway.inputs.text import kind as text
from shipway.registry import Registry
from shipway.scoring.rows import read_rows
from shipway.storage import Store
from tests.fixtures.toy import published

WORDS = ("turn", "switch", "light", "lamp", "kitchen", "bedroom", "warm", "cold", "music", "stop", "louder", "timer")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in a folder; what is the same on S3 is tested once on S3."""
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    return Store.open()


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    """Texts without repetition, three labels, a slice column."""
    choose = random.Random(seed)
    texts = [f"{' '.join(choose.choices(WORDS, k=5))} {seed} {number}" for number in range(rows)]
    return pl.DataFrame(
        {
            "text": texts,
            "label": [choose.choice(["on", "off", "none"]) for _ in texts],
            "room": [choose.choice(["bath", "hall", None]) for _ in texts],
        }
    )


def prepare(store: Store, data: Path, **changes: object) -> DatasetManifest:
    spec = DatasetSpec(name="bot", data=str(data), **changes)  # type: ignore[arg-type]
    return make.make_dataset(spec, store)[0]


def rows_of(store: Store, manifest: DatasetManifest, split: str | None = None) -> pl.DataFrame:
    """The rows as published, all splits or one."""
    prefix = manifest.uri.removeprefix(f"{store.uri}/")
    frames = [
        pl.read_parquet(store.get(f"{prefix}/{file.path}"))
        for name, part in manifest.splits.items()
        if split in (None, name)
        for file in part.row_files
    ]
    return pl.concat(frames)


def hashes_of(manifest: DatasetManifest) -> dict[str, str]:
    """Path -> sha256 of everything that the manifest names."""
    from shipway.components.prep.publish import file_refs

    return {ref.path: ref.sha256 for ref in file_refs(manifest)}


def count_records(data: bytes) -> int:
    """Records in a TFRecord file."""
    count = at = 0
    while at < len(data):
        at += struct.unpack_from("<Q", data, at)[0] + 16
        count += 1
    return count


def test_rows_become_a_dataset_whose_manifest_holds(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    counts = write_intents_csv(data, "en", rows_per_intent=40)
    manifest = prepare(store, data, group_column="group")
    assert manifest.labels == sorted(counts)
    assert sum(part.rows for part in manifest.splits.values()) == sum(counts.values())
    assert len(manifest.splits["train"].shards) == 8
    prefix = manifest.uri.removeprefix(f"{store.uri}/")
    groups: list[set[str]] = []
    for name, part in manifest.splits.items():
        rows = rows_of(store, manifest, name)
        assert len(rows) == part.rows == sum(part.class_counts.values())
        assert rows.get_column("split").unique().to_list() == [name]
        assert rows.get_column("row_id").n_unique() == len(rows)
        assert {"domain", "slots"} <= set(rows.columns)
        for shard in part.shards:
            assert count_records(store.get(f"{prefix}/{shard.path}")) == shard.rows
        assert part.group_hashes is not None
        hashed = pl.read_parquet(store.get(f"{prefix}/{part.group_hashes.path}")).get_column("group_hash")
        assert hashed.dtype == pl.UInt64
        assert hashed.is_sorted()
        assert len(hashed) == part.groups == rows.get_column("group").n_unique()
        groups.append(set(rows.get_column("group")))
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert "<html" in store.get(f"{prefix}/report.html").decode()


def test_the_whole_way_on_s3_through_the_launch(store_uri: str, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    table(600).write_csv(data)
    spec = json.dumps({"name": "bot", "data": str(data)})
    outputs = SimpleNamespace(path=str(tmp_path / "out.json")), SimpleNamespace(path=str(tmp_path / "out.html"))
    launch.dataset(spec, *outputs)
    manifest = DatasetManifest.read(tmp_path / "out.json")
    assert manifest.uri.startswith(store_uri)
    assert len(rows_of(Store.open(), manifest)) == 600
    assert Path(outputs[1].path).read_text().count("<html") == 1
    for part in manifest.splits.values():
        Store.open().download_folder(manifest.uri.removeprefix(f"{store_uri}/"), part.shards, tmp_path / "shards")


def test_the_number_of_processes_changes_no_byte(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "rows.csv"
    rows = table(3000)
    pl.concat([rows, rows.head(500)]).write_csv(data)
    monkeypatch.setattr(sources.cut, "__defaults__", (20_000,))
    alone = prepare(store, data)
    store.delete(*(info.key for info in store.list("datasets")))
    monkeypatch.setattr(make, "POOL_BYTES", 0)
    monkeypatch.setenv(make.WORKERS, "2")
    together = prepare(store, data)
    assert hashes_of(together) == hashes_of(alone)
    assert together.statistics == alone.statistics


def test_a_small_source_whose_encoder_takes_its_time_is_shared(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, started, start = tmp_path / "rows.csv", [], pool._start
    table(3000).write_csv(data)
    monkeypatch.setattr(pool, "_start", lambda owner: started.append(owner) or start(owner))
    monkeypatch.setenv(make.WORKERS, "2")
    alone = prepare(store, data)
    assert not started
    store.delete(*(info.key for info in store.list("datasets")))
    monkeypatch.setattr(make, "WORK_S", 0.0)
    assert hashes_of(prepare(store, data)) == hashes_of(alone)
    assert started == ["p1"]


def test_buckets_that_grew_too_big_are_split_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "rows.csv"
    table(3000).write_csv(data)
    monkeypatch.setattr(core, "FIRST_BUCKETS", 2)
    monkeypatch.setattr(core, "MIN_BUCKETS", 2)
    monkeypatch.setattr(core, "BUCKET_BYTES", 10_000)
    split_again: list[int] = []
    real = core.refine

    def watched(split: str, bucket: int, layout: core.Layout, factor: int, owner: str) -> object:
        split_again.append(factor)
        return real(split, bucket, layout, factor, owner)

    monkeypatch.setattr(core, "refine", watched)
    manifest = prepare(store, data)
    assert split_again
    assert min(split_again) >= 4
    assert sorted(rows_of(store, manifest).get_column("text")) == sorted(pl.read_csv(data).get_column("text"))
    assert len(manifest.splits["train"].shards) > 8


def test_rows_are_shuffled_over_all_shards(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    table(4000).sort("label").with_row_index("at").write_csv(data)
    manifest = prepare(store, data)
    prefix = manifest.uri.removeprefix(f"{store.uri}/")
    whole = rows_of(store, manifest, "train").get_column("label").value_counts(normalize=True).sort("label")
    for file in manifest.splits["train"].row_files:
        rows = pl.read_parquet(store.get(f"{prefix}/{file.path}"))
        part = rows.get_column("label").value_counts(normalize=True).sort("label")
        assert (part.get_column("proportion") - whole.get_column("proportion")).abs().max() < 0.12
        places = rows.get_column("at").cast(pl.Int64).diff().drop_nulls()
        assert 0.4 < (places > 0).mean() < 0.6


def test_a_row_keeps_its_id_and_its_side_when_rows_are_added(store: Store, tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    table(500).write_csv(old)
    pl.concat([table(700, seed=1), table(500)]).sample(fraction=1, shuffle=True, seed=3).write_csv(new)
    before = rows_of(store, prepare(store, old)).select("row_id", "text", "label", "split")
    after = rows_of(store, prepare(store, new)).select("row_id", "text", "label", "split")
    assert len(before.join(after, on=before.columns)) == 500


def test_equal_rows_have_ids_of_their_own(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    pl.concat([table(100), table(100), table(100)]).write_csv(data)
    manifest = prepare(store, data)
    rows = rows_of(store, manifest)
    assert rows.get_column("row_id").n_unique() == 300
    assert sum(row_id.endswith("-2") for row_id in rows.get_column("row_id")) == 100
    assert rows.group_by("text").agg(pl.col("split").n_unique()).get_column("split").max() == 1
    assert manifest.statistics["duplicate_rows"] == 200


def _compress(data: bytes, suffix: str) -> bytes:
    return {
        "": lambda plain: plain,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": zstandard.compress,
    }[suffix](data)


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("kind", ["csv", "semicolon.csv", "bom.csv", "tsv", "jsonl", "folder"])
def test_all_formats_are_the_same_rows(store: Store, tmp_path: Path, kind: str, suffix: str) -> None:
    rows = table(120)
    texts = {
        "csv": rows.write_csv(),
        "semicolon.csv": rows.write_csv(separator=";", line_terminator="\r\n"),
        "bom.csv": "\ufeff" + rows.write_csv(),
        "tsv": rows.write_csv(separator="\t"),
        "jsonl": rows.write_ndjson(),
    }
    data = tmp_path / f"rows.{kind}{suffix}"
    if kind == "folder":
        data = tmp_path / "rows"
        (data / "more").mkdir(parents=True)
        (data / f"a.csv{suffix}").write_bytes(_compress(rows.head(50).write_csv().encode(), suffix))
        (data / f"more/b.jsonl{suffix}").write_bytes(_compress(rows.slice(50, 40).write_ndjson().encode(), suffix))
        rows.tail(30).write_parquet(data / "more/c.parquet")
        (data / "more/.hidden.csv").write_text("not,these\n")
    else:
        data.write_bytes(_compress(texts[kind].encode(), suffix))
    found = rows_of(store, prepare(store, data, encoder={"char_ngrams_max": 0}))
    assert found.select("text", "label", "room").sort("text").rows() == rows.sort("text").rows()


def test_bad_rows_are_set_aside_with_file_row_and_reason(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.cut, "__defaults__", (1_000,))  # row numbers must count over pieces
    folder = tmp_path / "rows"
    folder.mkdir()
    lines = table(200).write_csv().encode().splitlines(keepends=True)
    lines[50] = b",on,bath\n"
    lines[120] = b"too,few\n"
    lines[150] = b"caf\xe9,on,bath\n"
    lines[170] = b"nothing,,bath\n"
    lines[190] = "broken \ufffd text,on,bath\n".encode()
    (folder / "a.csv").write_bytes(b"".join(lines))
    (folder / "b.jsonl").write_text(
        '{"text": "fine", "label": "on"}\n{"text": oops}\n{"text": "bell\\u0007", "label": "on"}\n'
    )
    manifest = prepare(store, folder)
    prefix = manifest.uri.removeprefix(f"{store.uri}/")
    found = pl.concat([pl.read_parquet(store.get(f"{prefix}/{file.path}")) for file in manifest.quarantine])
    assert [
        (file, row, reason.partition(":")[0]) for file, row, reason in found.select("source", "row", "reason").rows()
    ] == [
        ("a.csv", 50, "empty text"),
        ("a.csv", 120, "2 fields, expected 3"),
        ("a.csv", 150, "not UTF-8"),
        ("a.csv", 170, "empty label"),
        ("a.csv", 190, "replacement character U+FFFD"),
        ("b.jsonl", 2, "not JSON"),
        ("b.jsonl", 3, "control character"),
    ]
    assert manifest.quarantined_rows == 7
    assert len(rows_of(store, manifest)) == 196


def test_a_given_split_is_honoured_and_its_leakage_measured(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    words = ["train", "Training", "dev", "validation", "test"]
    rows = table(500).with_columns(pl.Series("side", [words[number % 5] for number in range(500)]))
    leaked = rows.filter(pl.col("side") == "train").head(10).with_columns(
        pl.lit("test").alias("side"), pl.col("text").str.to_uppercase() + "  "
    )  # fmt: skip
    pl.concat([rows, leaked]).write_csv(data)
    manifest = prepare(store, data, split_column="side")
    assert {name: part.rows for name, part in manifest.splits.items()} == {"train": 200, "eval": 200, "test": 110}
    assert manifest.leakage["test_rows_in_train"] == 10
    assert manifest.leakage["eval_rows_in_train"] == 0
    assert manifest.leakage["shared_groups"] == 10
    notes = manifest.statistics["notes"]
    assert isinstance(notes, list)
    assert any(
        note.startswith("10 of 110 rows of test (9.1%) have an input that also stands in train") for note in notes
    )


def test_rows_of_labels_without_training_rows_can_be_set_aside(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    rows = table(300).with_columns(pl.lit("train").alias("side"))
    odd = table(30, seed=9).with_columns(pl.lit("rare").alias("label"), pl.lit("test").alias("side"))
    more = table(60, seed=8).with_columns(pl.lit("test").alias("side"))
    picking = table(20, seed=7).with_columns(pl.lit("eval").alias("side"))
    pl.concat([rows, more, odd, picking]).write_csv(data)
    manifest = prepare(store, data, split_column="side", on_unseen_label="quarantine")
    assert manifest.labels == ["none", "off", "on"]
    assert manifest.splits["test"].rows == 60
    assert manifest.quarantined_rows == sum(file.rows for file in manifest.quarantine) == 30
    assert "rare" not in manifest.splits["test"].class_counts
    assert manifest.splits["test"].left_out == {"rare": 30}


@pytest.mark.parametrize("setting", ["auto", "count"])
def test_rows_of_labels_without_training_rows_count_where_the_split_is_given(
    store: Store, tmp_path: Path, setting: str
) -> None:
    data = tmp_path / "rows.csv"
    sides = {"train": 300, "eval": 60, "test": 60}
    rows = [table(n, seed=n).with_columns(pl.lit(side).alias("side")) for side, n in sides.items()]
    odd = [table(9, seed=9).with_columns(pl.lit("rare").alias("label"), pl.lit(side).alias("side")) for side in
           ("eval", "test")]  # fmt: skip
    pl.concat([*rows, *odd]).write_csv(data)
    manifest = prepare(store, data, split_column="side", on_unseen_label=setting)
    test = manifest.splits["test"]
    assert manifest.labels == ["none", "off", "on"]
    assert (test.rows, test.encoded_rows, test.left_out) == (69, 60, {})
    assert (
        test.class_counts["rare"]
        == sum(frame["label"].eq("rare").sum() for frame in read_rows(manifest, "test", text))
        == 9
    )
    assert manifest.quarantined_rows == 0
    notes = manifest.statistics["notes"]
    assert isinstance(notes, list)
    told = "9 of 69 rows of test have labels without training rows and count as wrong answers: rare"
    assert told in notes


def test_a_side_without_rows_is_refused_before_anything_is_trained(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    pl.concat([table(300).with_columns(pl.lit("train").alias("side")), table(60, seed=3).with_columns(
        pl.lit("test").alias("side"))]).write_csv(data)  # fmt: skip
    with pytest.raises(
        InvalidData, match=r"'side': no row stands in eval \(300 in train, 60 in test\); name some rows"
    ):
        prepare(store, data, split_column="side")
    table(12).write_csv(data)
    with pytest.raises(InvalidData, match=r"no row stands in (eval|test) .*raise (eval|test)_fraction above 0.01"):
        prepare(store, data, eval_fraction=0.01, test_fraction=0.01)
    assert prepare(store, data, eval_fraction=0, test_fraction=0).splits["train"].rows == 12


def test_conflicting_duplicates_are_counted(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    rows = table(300)
    other = rows.head(7).with_columns(pl.lit("other").alias("label"))
    pl.concat([rows, other, table(300, seed=5).with_columns(pl.lit("other").alias("label"))]).write_csv(data)
    manifest = prepare(store, data)
    assert manifest.statistics["conflicting_inputs"] == 7
    assert manifest.statistics["conflicting_rows"] == 14
    assert manifest.statistics["duplicate_rows"] == 7


def test_a_published_dataset_is_found_again_and_a_damaged_one_made_again(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    table(300).write_csv(data)
    spec = DatasetSpec(name="bot", data=str(data))
    first, found = make.make_dataset(spec, store)
    assert not found
    again, found = make.make_dataset(spec, store)
    assert found
    assert again == first
    shard = f"{first.uri.removeprefix(f'{store.uri}/')}/{first.splits['train'].shards[0].path}"
    store.delete(shard)
    mended, found = make.make_dataset(spec, store)
    assert not found
    assert hashes_of(mended) == hashes_of(first)
    table(301).write_csv(data)
    assert make.make_dataset(spec, store)[0].uri != first.uri


_RUN = "import sys; from shipway.components.prep import make; from shipway.components.prep.spec import DatasetSpec; "
_RUN += "from shipway.storage import Store; make.make_dataset(DatasetSpec(name='bot', data=sys.argv[1]), Store.open())"


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_killed_run_leaves_a_whole_dataset_or_none(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    table(300).write_csv(data)
    spec = DatasetSpec(name="bot", data=str(data))
    whole = hashes_of(make.make_dataset(spec, store)[0])
    objects = len(list(store.list("datasets")))
    for number in range(int(os.environ.get("SHIPWAY_LOOPS", "20"))):
        store.delete(*(info.key for info in store.list("datasets")))
        process = subprocess.Popen([sys.executable, "-c", _RUN, str(data)])
        deadline = time.monotonic() + 60
        while process.poll() is None and len(list(store.list("datasets"))) <= number % objects:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
        process.wait()
        manifests = [info.key for info in store.list("datasets") if info.key.endswith("manifest.json")]
        for key in manifests:
            found = DatasetManifest.from_json(store.get(key))
            there = {info.key for info in store.list("datasets")}
            assert {f"{key.rpartition('/')[0]}/{path}" for path in hashes_of(found)} <= there
        assert hashes_of(make.make_dataset(spec, store)[0]) == whole


def test_a_dataset_is_compared_with_the_one_that_the_champion_was_trained_on(store: Store, tmp_path: Path) -> None:
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    table(400).write_csv(before)
    changed = table(400, seed=1).filter(pl.col("label") != "none")
    changed.with_columns(
        pl.when(pl.col("room") == "hall").then(pl.lit("ring")).otherwise("label").alias("label")
    ).write_csv(after)
    first = prepare(store, before)
    assert first.statistics["comparison"] is None
    model = published(tmp_path / "model", first, b"{}", b"m", labels=first.labels, inputs={}, outputs={})
    registry = Registry(store)
    registry.set_alias("bot", "champion", registry.register(model).version)
    comparison = prepare(store, after).statistics["comparison"]
    assert isinstance(comparison, dict)
    assert comparison["fingerprint"] == first.fingerprint
    assert comparison["new_labels"] == ["ring"]
    assert comparison["gone_labels"] == ["none"]
    assert comparison["label_psi"] > 0.2
    assert 0 < comparison["label_js"] < 1
    assert comparison["size_psi"] < 0.1
    assert prepare(store, before, seed=9).statistics["comparison"]["label_psi"] == 0  # type: ignore[index]
