"""A recipe that names `regression` and `table` is prepared, trained, exported, served, asked and checked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.client import Client
from shipway.components.deploy.parity import check_endpoint, kept_rows
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import UserError
from shipway.scoring import ModelSession
from shipway.scoring.rows import read_rows
from shipway.storage import Store
from tests.fixtures import houses
from tests.local.serving import Server, serving
from tests.local.test_endpoints import ROOT

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

ASKED = {"size": 100, "age": 20, "town": "Köln"}


@dataclass
class House:
    root: Path
    dataset: DatasetManifest
    model: ModelManifest
    dear: ModelManifest
    record: EvaluationRecord

    def expected(self, dear: float = 0.0) -> float:
        """The answer to `ASKED`."""
        solved = houses.solve(houses.rows(300))
        return float(solved @ [100, 20, 0, 1, 0]) + dear


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("houses")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIPWAY_HOME", str(root / "home"))
        patch.setenv("SHIPWAY_RECIPES", houses.REFERENCE)
        patch.setenv("PYTHONPATH", str(ROOT))
        train = houses.rows(300)
        splits = {"train": train, "eval": houses.rows(60, 1), "test": houses.rows(90, 2)}
        dataset = houses.write_dataset(root / "dataset", splits)
        model, dear = (houses.write_model(root / f"dear-{d}", dataset, train, dear=d) for d in (0.0, 30.0))
        for made in (dataset, model, dear):
            made.write(Path(made.uri.removeprefix("file://")) / "manifest.json")
        (root / "scratch").mkdir()
        spec = EvaluationSpec(baselines=[], bootstrap=0)
        store = Store.open((root / "store").as_uri())
        yield House(root, dataset, model, dear, measure(model, dataset, spec, store=store, folder=root / "scratch"))


@pytest.fixture(scope="module")
def server(house: House) -> Iterator[Server]:
    (house.root / "server").mkdir()
    with serving(house.root / "server", house.model, "pass", "--input", '{"max_chars": 60}') as found:
        yield found


def test_rows_come_as_objects_lists_and_lines(house: House, server: Server) -> None:
    status, answer = server.predict({"instances": [ASKED, [100, 20, "Köln"], "100,20,Köln", {**ASKED, "town": "Ulm"}]})
    assert status == 200, answer
    assert [list(each) for each in answer["predictions"]] == [["value"]] * 4
    values = [each["value"] for each in answer["predictions"]]
    assert values[:3] == pytest.approx([house.expected()] * 3, rel=1e-5)
    assert values[3] < values[0]


def test_v2_takes_rows_as_text_and_gives_numbers(house: House, server: Server) -> None:
    tensor = {"name": "table", "datatype": "BYTES", "shape": [2], "data": ["100,20,Köln", json.dumps(ASKED)]}
    status, answer = server.infer({"inputs": [tensor]})
    assert status == 200, answer
    [output] = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("value", "FP32", [2])
    assert output["data"] == pytest.approx([house.expected()] * 2, rel=1e-5)
    metadata = server.send("GET", "/v2/models/toy")[1]
    assert metadata["inputs"] == [{"name": "table", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"] == [{"name": "value", "datatype": "FP32", "shape": [-1]}]


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        ({"size": 1, "age": 1}, "instances[0]: 'town' is missing; expected size, age, town"),
        ({**ASKED, "floors": 2}, "instances[0]: unknown name 'floors'; allowed are size, age, town"),
        ({**ASKED, "age": "1,5"}, "instances[0].age has separators between its digits; write 1234.5, got '1,5'"),
        ({**ASKED, "town": "x" * 61}, "instances[0].town has 61 characters, at most 60 are allowed"),
        ([1], "instances[0] must have 3 cells, size, age, town, got 1"),
    ],
)
def test_a_wrong_row_gets_400_and_the_reason_in_one_line(server: Server, instance: Any, reason: str) -> None:
    status, answer = server.predict({"instances": [instance]})
    assert (status, answer["error"]) == (400, reason)


def test_the_client_and_the_check_speak_of_the_same_rows(house: House, server: Server) -> None:
    with Client(server.url, "toy") as client:
        assert client.predict([ASKED])[0]["value"] == pytest.approx(house.expected(), rel=1e-5)
        with pytest.raises(UserError, match="unknown name 'top_k'; allowed are none"):
            client.predict([ASKED], top_k=3)
    kept = kept_rows(house.record, house.model, 50)
    found = check_endpoint(f"{server.url}/v1/models/toy:predict", kept, 1e-4, 3)
    assert found.passed, found.reason
    assert (found.rows, found.agreement) == (50, 1.0)
    (house.root / "other").mkdir()
    with serving(house.root / "other", house.dear) as other:
        failed = check_endpoint(f"{other.url}/v1/models/toy:predict", kept, 1e-4)
    assert not failed.passed
    assert failed.reason.startswith(f"row 0 '{kept.previews[0]}': expected value ")


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """400 rents with a note that nobody reads, and 6 rows that are bad."""
    rows = houses.rows(400).rename(lambda name: name.removeprefix("number.").removeprefix("category."))
    lines = [f"{r['size']},{r['age']},{r['town']},{r['label']},{r['group']},n" for r in rows.iter_rows(named=True)]
    lines += [
        "large,1,Ulm,9,g,n",
        ",1,Ulm,9,h,n",
        "1,1,,9,i,n",
        "1,1,Ulm,dear,j,n",
        "1,1,Ulm,nan,k,n",
        '1,1,Ulm,"1,000",l,n',
    ]
    path = tmp_path / "rents.csv"
    path.write_text("\n".join(["size,age,town,label,group,note", *lines, ""]))
    return path


def test_a_csv_is_prepared_and_trained_on_and_the_model_asks_for_its_columns(csv: Path, tmp_path: Path) -> None:
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    store = Store.open((tmp_path / "prepared").as_uri())
    wanted = DatasetSpec(
        name="houses", data=str(csv), recipe=houses.REFERENCE, input=houses.INPUT, group_column="group"
    )
    dataset, _ = make_dataset(wanted, store)
    assert (dataset.task, dataset.input, dataset.labels, dataset.quarantined_rows) == ("regression", "table", [], 6)
    statistics: Any = dataset.statistics
    assert statistics["bad"] == {
        "size is not a number": 1,
        "size is empty": 1,
        "town is empty": 1,
        "label is not a number": 1,
        "label is a mark of a missing value": 1,
        "label has separators between its digits; write 1234.5": 1,
    }
    spec = FitSpec(name="houses", recipe=houses.REFERENCE, steps=200, batch_size=32)
    fitted = fit(spec, dataset, tmp_path)
    measured = fitted.state.best_metrics
    assert {"val_rmse", "val_mae", "val_r2"} < {*measured}
    model = publish(fitted, tmp_path, (tmp_path / "jobs").as_uri(), "houses", "")
    assert (model.task, model.constants) == ("regression", {})
    assert model.input_params == {**houses.INPUT, "max_chars": 1000}
    assert {name: (spec.dtype, spec.shape) for name, spec in model.outputs.items()} == {"value": ("float32", [])}
    session = ModelSession.open(model, recipes=[houses.REFERENCE])
    assert session.kind.read_instance("100,20,Köln", "row", session.kind.Limits()) == ASKED
    rows = pl.concat(read_rows(dataset, "eval", session.kind))
    found: Any = session.predict(session.kind.values(rows))["value"]
    off = rows["label"].cast(pl.Float64).to_numpy() - found
    assert float(np.sqrt((off**2).mean())) == pytest.approx(measured["val_rmse"], rel=1e-4)
