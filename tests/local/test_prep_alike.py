"""What prep says of rows that mean nearly the same, by the shipped sentence encoder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import DatasetManifest
from shipway.components.prep import make
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.storage import Store

ENCODER = "use-multilingual-3"
ROOMS = ["kitchen", "hall", "cellar", "garage", "bathroom", "attic", "office", "garden"]
SIDES = {6: "eval", 7: "test"}
TEXTS = {
    "light on": "turn on the light in the {}",
    "lamp on": "turn on the lights in the {}",
    "weather": "will it rain on the {} tomorrow",
    "timer": "wake me after {} minutes of sleep",
}


def write(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label", "split"])
        for label, text in TEXTS.items():
            for number, room in enumerate(ROOMS):
                rows.writerow([text.format(room), label, SIDES.get(number, "train")])
        rows.writerow(["Will it rain on the garden tomorrow", "weather", "train"])


def made(folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch, **spec: Any) -> tuple[DatasetManifest, str]:
    monkeypatch.setenv("SHIPWAY_STORE", folder.as_uri())
    store = Store.open(folder.as_uri())
    manifest, _ = make_dataset(DatasetSpec(name="bot", data=str(data), split_column="split", **spec), store)
    return manifest, store.get(f"datasets/{manifest.fingerprint}/report.html").decode()


def test_labels_that_say_the_same_and_rows_of_both_sides_are_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "rows.csv")
    manifest, page = made(tmp_path / "store", tmp_path / "rows.csv", monkeypatch, encoder={"sentence_encoder": ENCODER})
    document: Any = manifest.statistics["alike"]
    assert document["rows"] == 33
    [[one, other, rows, _]] = document["contradictions"]["labels"]
    assert (one, other) == ("lamp on", "light on")
    assert rows >= 8
    [cosine, *pair] = document["contradictions"]["examples"][0]
    assert cosine >= 0.95
    assert {label for _, _, label in pair} == {"lamp on", "light on"}
    assert all(place.startswith("rows.csv row ") for _, place, _ in pair)
    assert manifest.leakage["test_share_near_train"] >= 1 / 4
    assert "Labels that may contradict each other" in page
    assert any(
        "mean nearly the same as a row of another label: lamp on and light on" in note for note in _notes(manifest)
    )


def test_a_dataset_is_the_same_whatever_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "rows.csv")
    monkeypatch.setattr(make, "POOL_BYTES", 0)
    told = []
    for workers in ("1", "3"):
        monkeypatch.setenv(make.WORKERS, workers)
        store = tmp_path / f"store{workers}"
        manifest, _ = made(store, tmp_path / "rows.csv", monkeypatch, encoder={"sentence_encoder": ENCODER})
        told.append((manifest.statistics["alike"], manifest.leakage, _notes(manifest)))
    assert told[0] == told[1]


def test_no_row_is_encoded_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shipway.recipes.intents import sentences

    write(tmp_path / "rows.csv")
    asked: list[str] = []
    encode = sentences.Sentences.encode

    def counted(self: sentences.Sentences, texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(sentences.Sentences, "encode", counted)
    before: list[int] = []
    read = make.vectors.read

    def reading(scratch: Path) -> Any:
        before.append(len(asked))
        return read(scratch)

    monkeypatch.setattr(make.vectors, "read", reading)
    manifest, _ = made(tmp_path / "store", tmp_path / "rows.csv", monkeypatch, encoder={"sentence_encoder": ENCODER})
    document: Any = manifest.statistics["alike"]
    assert document["rows"] == 33
    assert before == [len(asked)], "vectors are those that the shards got"


def test_without_an_encoder_the_page_says_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "rows.csv")
    manifest, page = made(tmp_path / "store", tmp_path / "rows.csv", monkeypatch, encoder={"sentence_encoder": "none"})
    assert manifest.statistics["alike"] == {}
    assert "near" not in page
    assert "test_share_near_train" not in manifest.leakage


def _notes(manifest: DatasetManifest) -> list[str]:
    notes = manifest.statistics["notes"]
    assert isinstance(notes, list)
    return notes
