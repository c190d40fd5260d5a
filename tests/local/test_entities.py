"""Spans from files of other tools become rows, and the recipe `entities` takes rows to an endpoint that answers."""

from __future__ import annotations

import json
import os
import unicodedata
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import UserError
from shipway.storage import Store
from shipway.tasks.spans.spans import parse
from tests.fixtures import named
from tests.fixtures.person import Typist, document
from tests.local.test_prep import rows_of

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

OVERRIDES = {
    "training": {"params": {"architecture": "cnn"}, "epochs": 10, "batch_size": 16},
    "evaluation": {"slices": ["prefix"], "bootstrap": 100},
    "promotion": {"task": {"type_floors": {"recall": 0.5, "types": {"room": 0.6}}}},
}
EMOJI = "👩‍👩‍👧 turn on the light in the kitchen"
COMBINED = unicodedata.normalize("NFD", "Zoë") + ": play techno"


@pytest.fixture
def store(local_store_uri: str) -> Store:
    return Store.open(local_store_uri)


def spec(data: Path, **more: Any) -> DatasetSpec:
    return DatasetSpec(name="slots", data=str(data), recipe="entities", **more)


def write_conll(path: Path, frame: pl.DataFrame) -> None:
    """Words of plain texts, and a tag each."""
    lines = ["-DOCSTART- O", ""]
    for text, label in frame.select("text", "label").iter_rows():
        at, spans = 0, parse(label)
        for word in text.split(" "):
            span = next((span for span in spans if span.start <= at < span.end), None)
            lines.append(f"{word} {'O' if span is None else ('B-' if span.start == at else 'I-') + span.type}")
            at += len(word) + 1
        lines.append("")
    path.write_text("\n".join(lines))


def test_a_folder_of_conll_files_is_a_dataset_split_by_its_files(store: Store, tmp_path: Path) -> None:
    plain = [
        rows.filter(pl.col("prefix") == "plain", ~pl.col("text").str.contains(","))
        for rows in map(named.rows, (300, 80))
    ]
    (tmp_path / "in").mkdir()
    write_conll(tmp_path / "in/train.conll", plain[0])
    write_conll(tmp_path / "in/dev.conll", plain[1])
    write_conll(tmp_path / "in/test.bio", plain[1])
    (tmp_path / "in/README.md").write_text("none of the rows")
    manifest, _ = make_dataset(spec(tmp_path / "in", split_column="file"), store)
    assert (manifest.labels, manifest.quarantined_rows) == (["number", "room", "song"], 0)
    rows = rows_of(store, manifest, "train")
    assert (
        rows.select("text", "label")
        .sort("text", "label")
        .equals(plain[0].select("text", "label").sort("text", "label"))
    )
    assert set(rows["document"]) == {"train 1"}


def test_lists_of_json_lines_are_labels_and_bad_ones_have_their_reason(store: Store, tmp_path: Path) -> None:
    good = [
        {"sentence": text, "entities": [{"start": s.start, "end": s.end, "label": s.type} for s in parse(label)]}
        for text, label in named.rows(200).select("text", "label").iter_rows()
    ]
    bad: list[Any] = [
        {"sentence": "two rooms", "entities": [[0, 3, "number"], [2, 9, "room"]]},
        {"sentence": "two", "entities": [[0, 4, "number"]]},
        {"sentence": "two", "entities": {"0": "number"}},
        {"sentence": "two", "entities": None},
        {"sentence": ["two"], "entities": []},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [*good, *bad])))
    given = {"input": {"column": "sentence"}, "label_column": "entities"}
    manifest, _ = make_dataset(spec(tmp_path / "rows.jsonl", **given), store)
    statistics: Any = manifest.statistics
    assert statistics["notes"] == [], "another way of writing a list is no change"
    assert statistics["bad"] == {
        "two spans overlap; each character belongs to one span at most": 1,
        "a span ends behind the text": 1,
        "column 'entities' holds a JSON object, expected text or a list": 1,
        "empty label; a row without spans has []": 1,
        "column 'sentence' holds a JSON list, expected text": 1,
    }
    assert len(rows_of(store, manifest)) == 200


def test_lists_of_parquet_are_labels_too(store: Store, tmp_path: Path) -> None:
    rows = named.rows(200)
    names = ["start", "end", "type"]
    spans = [[dict(zip(names, span, strict=True)) for span in parse(label)] for label in rows["label"]]
    typed_spans = pl.Series(
        "spans", spans, dtype=pl.List(pl.Struct({"start": pl.Int32, "end": pl.Int32, "type": pl.String}))
    )
    rows.select("text").with_columns(typed_spans).write_parquet(tmp_path / "rows.parquet")
    manifest, _ = make_dataset(spec(tmp_path / "rows.parquet", label_column="spans"), store)
    found = rows_of(store, manifest).select("text", "label").sort("text", "label")
    assert found.equals(rows.select("text", "label").sort("text", "label"))


def test_texts_with_marks_are_read_where_the_format_is_named(store: Store, tmp_path: Path) -> None:
    lines = []
    for text, label in named.rows(200).select("text", "label").iter_rows():
        for span in reversed(parse(label)):
            text = f"{text[: span.start]}[{text[span.start : span.end]}]({span.type}){text[span.end :]}"
        lines.append(text)
    (tmp_path / "nlu.txt").write_text("\n".join(lines))
    manifest, _ = make_dataset(spec(tmp_path / "nlu.txt", format="marked"), store)
    assert manifest.labels == ["number", "room", "song"]
    assert len(rows_of(store, manifest)) == 200


def test_a_chatbots_folder_is_read_and_what_no_answer_can_have_is_noted(store: Store, tmp_path: Path) -> None:
    texts = [f"set [ lamp ](device) {n} to 2[{n % 7}](level)0" for n in range(60)]
    lines = "\n".join(f"    - {text}" for text in texts)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/nlu.yml").write_text(f"nlu:\n- intent: set\n  examples: |\n{lines}\n")
    (tmp_path / "in/stories.yml").write_text("stories: []\n")
    manifest, _ = make_dataset(spec(tmp_path / "in", format="marked"), store)
    statistics: Any = manifest.statistics
    skipped, changed, cut = statistics["notes"]
    assert "stories.yml (it has no rows in it)" in skipped
    assert "changed those of 60 rows" in changed, "blanks at a span's ends are taken off"
    assert cut.startswith("60 rows have a span that begins or ends within a word")
    assert {parse(label)[0][:2] for label in rows_of(store, manifest)["label"]} == {(5, 9)}


@pytest.mark.parametrize(
    ("name", "content", "given", "says"),
    [
        ("a.conll", "in O\nUlm B-\n", {}, r"data: 'a.conll' line 2: 'B-' is no tag; expected O, B-<type>"),
        ("a.conll", "\n\n", {}, "has no rows in it"),
        ("a.conll", "in O\n", {"label_column": "ner"}, "label_column: no column 'ner' in 'a.conll'; it has text, "),
        ("a.jsonl", '{"text": "a"}\n', {}, "label_column: no column 'label'"),
        ("a.txt", "[a](x)\n", {"format": "marekd"}, r"format 'marekd'; .*conll, marked \(did you mean 'marked'"),
        ("a.txt", "[a]()\n", {"format": "marked"}, r"data: 'a.txt' line 1: '\[a\]\(\)' has no type"),
        ("nlu.txt", "set [two](number)\n", {}, r"no column 'text' in 'nlu.txt'; .* give over.*format=conll\|marked$"),
        ("rows.jsonl", '{"tokens": ["a"], "tags": ["O"]}\n', {}, r"no column 'text' .*; it has tokens, tags$"),
        ("nlu.yml", "nlu: []\n", {}, r"unsupported format '.yml'; expected .*\.iob2, alone or with .*dataset.format$"),
        ("a.conll", "in O\n\nUlm O\n", {}, "no label of the 2 rows names anything; spans needs rows of at least one"),
        ("a.conll.gz", "in O\n", {}, "data: 'a.conll.gz' cannot be read"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_clear_line(
    store: Store, tmp_path: Path, name: str, content: str, given: dict[str, Any], says: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=says):
        make_dataset(spec(tmp_path / name, **given), store)


def test_a_training_that_was_killed_ends_with_the_weights_of_one_that_was_not(store: Store, tmp_path: Path) -> None:
    import numpy as np

    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    named.rows(120).select("text", "label").write_parquet(tmp_path / "rows.parquet")
    dataset, _ = make_dataset(spec(tmp_path / "rows.parquet"), store)
    how = FitSpec(recipe="entities", steps=9, checkpoint_steps=3, params={"architecture": "cnn", "crf": False})

    class Killed(Exception):
        pass

    def kill(step: int, _metrics: Any) -> bool:
        if step == 6:
            raise Killed
        return True

    jobs = (tmp_path / "jobs").as_uri()
    with pytest.raises(Killed):
        fit(how, dataset, tmp_path, output_uri=jobs, report=kill)
    resumed, calm = fit(how, dataset, tmp_path, output_uri=jobs), fit(how, dataset, tmp_path)
    assert resumed.state == calm.state
    assert all(np.array_equal(one, other) for one, other in zip(resumed.weights, calm.weights, strict=True))


class Person(Typist):
    """Somebody with rows of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with (folder / "slots.jsonl").open("w") as file:
            for row in named.rows(400).iter_rows(named=True):
                file.write(json.dumps({**row, "label": json.loads(row["label"])}) + "\n")


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    person = Person(tmp_path_factory.mktemp("person"))
    yield person
    person.call("down")


@pytest.fixture(scope="module")
def served(person: Person) -> dict[str, Any]:
    params = ["name=slots", "data=slots.jsonl", "recipe=entities", "preset=quick"]
    params.append(f"overrides={json.dumps(OVERRIDES)}")
    done = person.call("run", "train_and_deploy", "--local", "--json", "--param", *params)
    return document(done)


@pytest.mark.proves(recipe="entities", strategy="single", executor="process")
def test_rows_end_at_an_endpoint_whose_places_fit_the_callers_text(served: dict[str, Any]) -> None:
    body = json.dumps({"instances": [EMOJI, COMBINED, "hello"]}).encode()
    request = urllib.request.Request(served["endpoint"]["predict_url"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = [row["spans"] for row in json.load(answer)["predictions"]]
    words = [
        [(text[span["start"] : span["end"]], span["type"]) for span in spans]
        for text, spans in zip([EMOJI, COMBINED, "hello"], found, strict=True)
    ]
    assert words == [[("kitchen", "room")], [("techno", "song")], []]


def test_figures_baselines_floors_and_slices_are_those_of_spans(served: dict[str, Any]) -> None:
    evaluation = served["evaluation"]
    assert next(iter(evaluation["metrics"])) == "f1"
    assert evaluation["metrics"]["f1"] > 0.8
    assert set(evaluation["baselines"]) == {"dictionary", "perceptron"}
    rules = {rule["rule"]: rule["passed"] for rule in served["decision"]["rules"]}
    assert any("room" in rule for rule in rules), rules
    assert served["decision"]["decision"] == "blessed"
    assert served["model"]["version"] == 1


def test_the_recipe_suggests_what_a_sweep_varies(person: Person) -> None:
    params = ["name=slots", "data=slots.jsonl", "recipe=entities", "preset=default", "overrides.sweep.maxTrialCount=8"]
    done = person.call("run", "train_and_deploy", "--local", "--dry-run", "--param", *params)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "multivariate-tpe 8 trials" in done.stdout
    wrong = person.call(
        "run", "train_and_deploy", "--local", "--dry-run", "--param", *params, "overrides.training.params.crff=1"
    )
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1), wrong.stderr
    assert "training.params.crff: unknown field" in wrong.stderr
