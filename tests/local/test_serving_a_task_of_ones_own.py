"""A task and an input that nothing in Shipway knows are served, asked, checked and deployed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from shipway.artifacts import EvaluationRecord, ModelManifest
from shipway.client import Client, NoAnswer
from shipway.components.deploy import launch, parity
from shipway.components.deploy.parity import check_endpoint, kept_rows
from shipway.components.deploy.rollout import CheckFailed, Rollout
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.context import Context
from shipway.errors import InvalidSpec, NotFound, UserError
from shipway.executors.process import ProcessExecutor, service
from shipway.patience import Patience
from shipway.registry import Registry
from shipway.storage import Store
from tests.fixtures import typed, waiting
from tests.local.gateways import late_gateway
from tests.local.serving import Server, serving
from tests.local.test_endpoints import ROOT

pytestmark = pytest.mark.heavy

ROWS = [{"stops": 3, "passengers": 20}, {"stops": 10, "passengers": 0}, {"stops": 400, "passengers": 5}]
RAW = np.array([[row["stops"], row["passengers"]] for row in ROWS], dtype="<f4")


@dataclass
class House:
    root: Path
    store: Store
    model: ModelManifest
    late: ModelManifest
    record: EvaluationRecord


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("tram")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIPWAY_HOME", str(root / "home"))
        patch.setenv("SHIPWAY_STORE", (root / "store").as_uri())
        patch.setenv("SHIPWAY_RECIPES", waiting.REFERENCE)
        patch.setenv("PYTHONPATH", str(ROOT))
        train, store = waiting.rows(300), Store.open()
        splits = {"train": train, "eval": waiting.rows(60, 1), "test": waiting.rows(90, 2)}
        dataset = waiting.write_dataset(root / "dataset", splits)
        models = []
        for late in (0.0, 3.0):
            model = waiting.write_model(root / f"model-{late}", dataset, train, late=late)
            model.write(root / f"model-{late}" / "manifest.json")
            models.append(model)
        spec = EvaluationSpec(baselines=[], bootstrap=0, slices=["line"])
        scratch = root / "scratch"
        scratch.mkdir()
        record = measure(models[0], dataset, spec, store=store, folder=scratch)
        yield House(root, store, *models, record)


@pytest.fixture(scope="module")
def server(house: House) -> Iterator[Server]:
    (house.root / "server").mkdir()
    options = ("--answers", '{"most": 60}', "--input", '{"max_stops": 500}')
    with serving(house.root / "server", house.model, "pass", *options) as found:
        yield found


def expected(server: Server) -> Any:
    """Of `ROWS`, as the file computes it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(server.model.uri.removeprefix("file://") + "/model.onnx")
    return session.run(["minutes"], {"numbers": RAW})[0]


def test_v1_answers_in_the_tasks_own_words_as_the_endpoint_is_set(server: Server) -> None:
    status, answer = server.predict({"instances": ROWS})
    assert status == 200, answer
    raw = expected(server)
    assert [each["raw"] for each in answer["predictions"]] == pytest.approx(raw.tolist(), rel=1e-5)
    assert [each["minutes"] for each in answer["predictions"]] == pytest.approx([raw[0], raw[1], 60], rel=1e-5)
    parameters = {"rounded": True, "unit": "seconds"}
    _, answer = server.predict({"instances": [[3, 20]], "parameters": parameters})
    assert answer["predictions"][0]["seconds"] == pytest.approx(round(float(raw[0]) * 60))


def test_v2_takes_and_gives_tensors_of_numbers_as_json_and_as_bytes(server: Server) -> None:
    tensor = {"name": "journey", "datatype": "FP32", "shape": [3, 2]}
    capped = np.minimum(expected(server), 60)
    status, answer = server.infer({"inputs": [{**tensor, "data": RAW.tolist()}], "parameters": {"rounded": False}})
    assert status == 200, answer
    [output] = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("minutes", "FP32", [3])
    np.testing.assert_allclose(output["data"], capped, rtol=1e-5)
    sized = {**tensor, "parameters": {"binary_data_size": RAW.nbytes}}
    head = json.dumps({"inputs": [sized]}).encode()
    binary = {"content_type": "application/octet-stream", "inference_header_content_length": str(len(head))}
    status, answer = server.infer(head + RAW.tobytes(), **binary)
    np.testing.assert_allclose(answer["outputs"][0]["data"], capped, rtol=1e-5)
    metadata = server.send("GET", "/v2/models/toy")[1]
    assert metadata["inputs"] == [{"name": "journey", "datatype": "FP32", "shape": [-1, 2]}]
    assert metadata["outputs"] == [{"name": "minutes", "datatype": "FP32", "shape": [-1]}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"instances": ["hello"]}, "instances[0] must be an object with stops, passengers, or a list of 2, got a stri"),
        ({"instances": [{"text": "a"}]}, "instances[0]: unknown name 'text'; allowed are stops, passengers"),
        (
            {"instances": [[1, 2], {"stops": 501, "passengers": 1}]},
            "instances[1].stops is 501, at most 500 are allowed",
        ),
        ({"instances": [[1, 2]] * 51}, '"instances" holds 51 instances, at most 50 are allowed'),
        ({"instances": [[1, 2]], "parameters": {"top_k": 2}}, "unknown name 'top_k'; allowed are rounded, unit"),
        (
            {"instances": [[1, 2]], "parameters": {"unit": "h"}},
            "parameters.unit must be 'minutes' or 'seconds', got 'h'",
        ),
    ],
)
def test_a_wrong_instance_gets_400_and_the_reason_in_one_line(server: Server, body: Any, reason: str) -> None:
    status, answer = server.predict(body)
    assert status == 400, answer
    assert reason in answer["error"]
    assert "\n" not in answer["error"]


def test_a_row_of_many_numbers_may_hold_as_many_values_as_its_input_says(server: Server) -> None:
    large = b'{"instances": [' + b", ".join([b"[1.000000000000, 2.000000000000]"] * 4000) + b"]}"
    assert server.predict(large)[0] == 400  # too many instances, but read
    far_more = b'{"instances": [' + b", ".join([b"[1,2]"] * 100_000) + b"]}"
    status, answer = server.predict(far_more)
    assert (status, answer["error"]) == (
        413,
        "the body holds far more values than 50 instances need; send fewer at a time",
    )


def test_the_client_sends_and_gives_what_the_task_knows(server: Server) -> None:
    with Client(server.url, "toy") as client:
        answers, version = client.ask(ROWS, unit="seconds")
        assert ({*answers[0]}, version) == ({"seconds", "raw"}, "3")
        with pytest.raises(UserError, match="unknown name 'cut'; allowed are rounded, unit"):
            client.predict(ROWS, cut=True)


def test_the_check_passes_for_the_evaluated_model_and_names_the_row_of_another(house: House, server: Server) -> None:
    kept = kept_rows(house.record, house.model, 50)
    assert len(kept.instances) == 50
    found = check_endpoint(f"{server.url}/v1/models/toy:predict", kept, 1e-4, 3)
    assert found.passed, found.reason
    assert (found.rows, found.agreement, len(found.latencies_ms)) == (50, 1.0, 50)
    (house.root / "other").mkdir()
    with serving(house.root / "other", house.late) as other:
        failed = check_endpoint(f"{other.url}/v1/models/toy:predict", kept, 1e-4)
    assert not failed.passed
    assert failed.reason.startswith(f"row 0 '{kept.previews[0]}': expected minutes ")
    assert "(difference 3, allowed 0.0001; 50 of 50 rows differ)" in failed.reason


def test_the_check_waits_for_the_way_to_an_endpoint_that_is_ready(house: House, server: Server) -> None:
    """A proxy that does not listen yet, then one that knows no way there: as on a cluster just after Ready."""
    kept = kept_rows(house.record, house.model, 50)
    with late_gateway(server.url) as gateway:
        assert check_endpoint(f"{gateway.url}/v1/models/toy:predict", kept, 1e-4, 3).passed
        assert gateway.refused == 2
        with pytest.raises(NotFound, match=r"HTTP 404.*nobody"):  # the endpoint's own 404 is no reason to wait
            check_endpoint(f"{gateway.url}/v1/models/nobody:predict", kept, 1e-4, 3)


def test_a_gateway_that_knows_no_way_is_said(monkeypatch: pytest.MonkeyPatch, house: House, server: Server) -> None:
    monkeypatch.setattr(parity, "OPENING", Patience(within_s=5.0, first_s=0.1, cap_s=0.2))
    kept = kept_rows(house.record, house.model, 50)
    with (
        late_gateway(server.url, refusals=10**6) as gateway,
        pytest.raises(NoAnswer, match=r"toy:predict: no endpoint answers there, but a gateway with HTTP 404$"),
    ):
        check_endpoint(f"{gateway.url}/v1/models/toy:predict", kept, 1e-4, 3)


def test_the_worker_refuses_settings_that_the_task_or_the_input_does_not_know(house: House) -> None:
    for option, reason in (
        ('--answers={"threshold": 0.5}', "--answers.threshold: unknown field; expected one of most"),
        ('--answers={"most": "x"}', "--answers.most: expected a number"),
        ('--input={"max_chars": 5}', "--input.max_chars: unknown field; expected one of max_stops"),
        ("--input=[]", "--input: expected a mapping"),
        ("--answers={", "--answers: not JSON: "),
    ):
        command = [sys.executable, "-m", "shipway.components.predict.worker", "--model_name=tram", "--http_port=0"]
        command += [f"--model_uri={house.model.uri}", f"--model_digest={house.model.digest}"]
        command += [f"--variant_digest={house.model.served.digest}", option]
        env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        assert reason in done.stderr.splitlines()[-1]


def deploy(house: House, registry: Registry, version: int, **spec: Any) -> Any:
    wanted = EndpointSpec(name="tram", check_rows=30, **spec)
    return Rollout(wanted, registry.get("tram", version), ProcessExecutor(Context.current()), registry, house.record)


def test_a_version_is_deployed_as_evaluation_and_spec_say_and_asked_from_the_command_line(house: House) -> None:
    registry = Registry(house.store)
    registry.register(house.model, evaluation=house.record)
    try:
        for spec, reason in (
            ({"answers": {"threshold": 0.5}}, r"endpoint\.answers\.threshold: unknown field; expected one of most"),
            ({"input": {"max_chars": 5}}, r"endpoint\.input\.max_chars: unknown field"),
        ):
            with pytest.raises(InvalidSpec, match=reason):
                deploy(house, registry, 1, **spec)
        done = deploy(house, registry, 1, input={"max_stops": 800}).run()
        assert all(check.passed for check in done.checks.values())
        recorded = json.loads(house.store.get("endpoints/tram.json"))
        assert (recorded["recipe"], recorded["answers"]) == (waiting.REFERENCE, {"most": 60.0})
        with Client(done.predict_url) as client:
            assert client.predict([[700, 1]])[0]["minutes"] == 60  # as evaluation found
        again = deploy(house, registry, 1, answers={"most": 15.5}).run()
        assert not again.is_adopted
        with Client(again.predict_url) as client:
            assert client.predict([[700, 1]])[0]["minutes"] == 15.5  # as the spec says

        told = typed.run(["predict", "tram", "3 20", "30 1"], cwd=Path.cwd(), env=os.environ)
        assert told.returncode == 0, told.stderr
        assert [line.split()[-1] for line in told.stdout.splitlines() if "20" in line or "30 1" in line][-1] == "15.50"
        assert "minutes" in told.stdout
        wrong = typed.run(["predict", "tram", "three"], cwd=Path.cwd(), env=os.environ)
        assert (wrong.returncode, "expected stops and passengers, got 'three'" in wrong.stderr) == (2, True)

        with pytest.raises(
            CheckFailed, match=r"row 0 '\d+ stops, \d+ passengers': expected minutes [\d.]+; got minutes"
        ):
            Rollout(
                EndpointSpec(name="tram", check_rows=30), registry.get("tram", 1),
                ProcessExecutor(Context.current()), registry, changed(house),
            ).run()  # fmt: skip
    finally:
        for state in service.list_endpoints(Context.current()):
            service.stop_endpoint(Context.current(), state.name)


def changed(house: House) -> EvaluationRecord:
    """The record, with another number kept for its first row."""
    store = Store.open(house.record.uri)
    store.download("predictions.parquet", house.root / "predictions.parquet")
    frame = pl.read_parquet(house.root / "predictions.parquet")
    minutes = frame["minutes"].to_list()
    frame.with_columns(minutes=pl.Series([minutes[0] + 1, *minutes[1:]], dtype=frame.schema["minutes"])).write_parquet(
        house.root / "changed.parquet"
    )
    return house.record.model_copy(
        update={"predictions": store.upload(house.root / "changed.parquet", "changed.parquet")}
    )


def test_the_component_checks_an_endpoint_whose_recipe_it_is_given(
    house: House, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {name: SimpleNamespace(path=str(house.root / f"{name}.out")) for name in ("model", "evaluation", "report")}
    house.model.write(paths["model"].path)
    house.record.write(paths["evaluation"].path)
    monkeypatch.delenv("SHIPWAY_RECIPES")
    url = f"{server.url}/v1/models/toy:predict"
    with pytest.raises(SystemExit) as caught:
        launch.check(url, **paths, rows=20)
    assert caught.value.code == 2
    checked = launch.check(url, **paths, rows=20, recipe=waiting.REFERENCE)
    assert checked.max_abs_diff < 1e-4
    page = Path(paths["report"].path).read_text()
    assert "Same answer" in page
    assert not [word for word in ("probability", "top class", "label") if f">{word}" in page.lower()]
