"""A tagger is trained and exported, served, asked and checked; places are those of the caller's text."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.client import Client
from shipway.components.deploy.parity import check_endpoint, kept_rows
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.recipes import Ragged
from shipway.scoring import ModelSession
from shipway.storage import Store
from tests.fixtures import named
from tests.local.serving import Server, serving
from tests.local.test_endpoints import ROOT

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

ASKED = [
    "turn on the light in the kitchen",
    "👩‍👩‍👧 play techno",
    unicodedata.normalize("NFD", "Zoë: ") + "lights on in the office please",
    "hello",
    "🇨🇭🏔 set a timer for twenty minutes in the garage",
]
WORDS = [
    [("kitchen", "room")],
    [("techno", "song")],
    [("office", "room")],
    [],
    [("twenty", "number"), ("garage", "room")],
]


@dataclass
class House:
    root: Path
    dataset: DatasetManifest
    model: ModelManifest
    other: ModelManifest
    record: EvaluationRecord


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("slots")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIPWAY_HOME", str(root / "home"))
        patch.setenv("SHIPWAY_STORE", (root / "store").as_uri())
        patch.setenv("SHIPWAY_RECIPES", named.REFERENCE)
        patch.setenv("PYTHONPATH", str(ROOT))
        train = named.rows(300)
        splits = {"train": train, "eval": named.rows(120, 1), "test": named.rows(90, 2)}
        dataset = named.write_dataset(root / "dataset", splits)
        models = []
        for forget in (0.0, 0.6):
            model = named.write_model(root / f"model-{forget}", dataset, train, forget=forget)
            model.write(root / f"model-{forget}" / "manifest.json")
            models.append(model)
        (root / "scratch").mkdir()
        spec = EvaluationSpec(baselines=[], bootstrap=0)
        record = measure(models[0], dataset, spec, store=Store.open(), folder=root / "scratch")
        yield House(root, dataset, *models, record)


@pytest.fixture(scope="module")
def server(house: House) -> Iterator[Server]:
    (house.root / "server").mkdir()
    with serving(house.root / "server", house.model) as found:
        yield found


def test_an_answer_names_the_words_of_the_text_that_was_sent(server: Server) -> None:
    status, answer = server.predict({"instances": ASKED})
    assert status == 200, answer
    for text, row, words in zip(ASKED, answer["predictions"], WORDS, strict=True):
        assert [(text[span["start"] : span["end"]], span["type"]) for span in row["spans"]] == words
        assert all(0 < span["score"] <= 1 for span in row["spans"])
    _, answer = server.predict({"instances": ASKED, "parameters": {"least_score": 1}})
    assert [row["spans"] for row in answer["predictions"]] == [[]] * len(ASKED)
    status, answer = server.predict({"instances": ASKED, "parameters": {"least_score": 2}})
    assert (status, answer["error"]) == (400, "parameters.least_score must be a number from 0 to 1, got 2")


def test_v2_gives_the_same_spans_as_padded_tensors(server: Server) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(ASKED)], "data": ASKED}
    status, answer = server.infer({"inputs": [tensor]})
    assert status == 200, answer
    found = {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in answer["outputs"]}
    assert found["count"].tolist() == [len(words) for words in WORDS]
    for i, (text, words) in enumerate(zip(ASKED, WORDS, strict=True)):
        spans = zip(found["starts"][i], found["ends"][i], found["types"][i], strict=True)
        assert [(text[start:end], kind) for start, end, kind in spans if start >= 0] == words


def test_the_check_passes_for_the_evaluated_model_and_names_the_row_of_another(house: House, server: Server) -> None:
    kept = kept_rows(house.record, house.model, 50)
    found = check_endpoint(f"{server.url}/v1/models/toy:predict", kept, 1e-4, 3)
    assert found.passed, found.reason
    assert (found.rows, found.agreement) == (50, 1.0)
    (house.root / "other").mkdir()
    with serving(house.root / "other", house.other) as other:
        failed = check_endpoint(f"{other.url}/v1/models/toy:predict", kept, 1e-4)
        with Client(other.url, "toy") as client:
            assert client.predict(["hello"]) == [{"spans": []}]
    assert not failed.passed
    assert "expected spans " in failed.reason


@pytest.mark.parametrize("chooses", [False, True])
def test_a_tagger_is_trained_by_its_entities_and_exported(house: House, tmp_path: Path, chooses: bool) -> None:
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    told: list[dict[str, float]] = []
    spec = FitSpec(
        name="slots", recipe=named.REFERENCE, steps=60, checkpoint_steps=10, batch_size=32, params={"chooses": chooses}
    )
    fitted = fit(spec, house.dataset, tmp_path, report=lambda _step, metrics: told.append(metrics) or True)
    assert list(told[0]) == ["loss", "token_accuracy", "val_f1", "val_token_accuracy", "val_loss"]
    assert fitted.state.best_metrics["val_f1"] == max(each["val_f1"] for each in told) > 0.8
    model = publish(fitted, tmp_path, (tmp_path / "job").as_uri(), "slots", "")
    assert model.served.parity is not None
    assert model.served.parity.passed, model.served.parity
    assert model.served.parity.agreement == 1.0
    assert {name: (part.dtype, part.shape) for name, part in model.outputs.items()} == {
        "scores": ("float32", [None]),
        "tags": ("int32", [None]),
    }
    assert set(model.constants) == {"temperature"}
    columns = ModelSession.open(model).predict(ASKED)
    starts, ends = columns["starts"], columns["ends"]
    assert isinstance(starts, Ragged)
    assert isinstance(ends, Ragged)
    for i, (text, words) in enumerate(zip(ASKED, WORDS, strict=True)):
        assert [text[a:b] for a, b in zip(starts.row(i), ends.row(i), strict=True)] == [word for word, _ in words]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    record = measure(model, house.dataset, EvaluationSpec(split="eval"), store=Store.open(), folder=scratch)
    assert record.metrics["f1"] == pytest.approx(fitted.state.best_metrics["val_f1"])
