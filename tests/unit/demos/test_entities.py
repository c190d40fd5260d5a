"""The demo's JSON lines: real sentences with their slots, the same bytes each time."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from shipway.demos import names
from shipway.demos._home import MIN_GROUPS
from shipway.demos.entities import write_entities_jsonl


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_entities_jsonl(tmp_path / name, ["nl"], rows_per_intent=10)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_slots_of_several_languages_are_whole_words_of_their_sentences(tmp_path: Path) -> None:
    counts = write_entities_jsonl(tmp_path / "rows.jsonl", ["en", "de"], rows_per_intent=30)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["language"] for row in rows} == {"en", "de"}
    found, groups = Counter(), defaultdict(set)
    for row in rows:
        end = 0
        for span in row["spans"]:
            words = row["text"][span["start"] : span["end"]]
            assert words == words.strip() != ""
            assert span["start"] >= end
            before, behind = row["text"][: span["start"]][-1:], row["text"][span["end"] :][:1]
            assert not (before.isalpha() and words[0].isalpha()), (row, span)
            assert not (behind.isalpha() and words[-1].isalpha()), (row, span)
            end = span["end"]
            found[span["type"]] += 1
            groups[span["type"]].add(row["group"])
    assert set(found) == set(counts)
    assert {"area", "name", "floor", "minutes", "temperature"} <= set(counts)
    assert min(map(len, groups.values())) >= MIN_GROUPS
    assert any(not row["spans"] for row in rows)
    assert not any(mark in row["text"] for row in rows for mark in "[]{}<>|\x02\x03")


@pytest.mark.parametrize("recipe", ["intents", "entities"])
def test_what_demos_share_is_no_demo(recipe: str) -> None:
    assert recipe in names()
    assert "_home" not in names()
