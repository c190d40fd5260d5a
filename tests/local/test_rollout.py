"""From a registered version to a served champion: candidate, check, takeover, rollback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from shipway.artifacts import EvaluationRecord, ModelManifest, StepRecord
from shipway.client import Client
from shipway.components.deploy import launch
from shipway.components.deploy.rollout import CheckFailed, Rollout
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.context import Context
from shipway.errors import InvalidSpec, JobFailed, ShipwayError, UserError
from shipway.executors import Handle, Manifest
from shipway.executors.process import ProcessExecutor, service
from shipway.registry import ModelVersion, Registry
from shipway.storage import Store
from tests.fixtures import toy
from tests.fixtures.load import Load
from tests.local.test_endpoints import ROOT, until

pytestmark = pytest.mark.heavy

SPEC = EndpointSpec(name="toy", check_rows=40)


@dataclass
class House:
    """A store with three versions of a model, and this machine's executor."""

    context: Context
    registry: Registry
    models: list[tuple[ModelManifest, EvaluationRecord]]

    def deploy(self, version: int, **changed: Any) -> Any:
        found = Rollout(
            changed.get("spec", SPEC),
            self.registry.get("toy", version),
            changed.get("executor") or ProcessExecutor(self.context),
            self.registry,
            changed.get("evaluation"),
        )
        return found.run()

    def served(self) -> str:
        record = json.loads(self.registry.store.get("endpoints/toy.json"))
        with Client(record["predict_url"]) as client:
            return client.ask(["w1_1"])[1]

    def running(self) -> list[str]:
        return [state.name for state in service.list_endpoints(self.context)]


@pytest.fixture
def house(tmp_path: Path, local_store_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    context = Context.current()
    store = Store.open()
    train = toy.rows(200)
    dataset = toy.write_dataset(
        tmp_path / "dataset", {"train": train, "eval": toy.rows(60, 1), "test": toy.rows(60, 2)}
    )
    registry, models = Registry(store), []
    for flip in (0.4, 0.2, 0.0):
        model = toy.write_model(tmp_path / f"model-{flip}", dataset, train, flip=flip)
        scratch = tmp_path / f"scratch-{flip}"
        scratch.mkdir()
        wanted = EvaluationSpec(baselines=[], bootstrap=0)
        record = measure(model, dataset, wanted, store=store, folder=scratch)
        registry.register(model, evaluation=record)
        models.append((model, record))
    yield House(context, registry, models)
    for state in service.list_endpoints(context):
        service.stop_endpoint(context, state.name)


def test_versions_are_deployed_checked_adopted_and_rolled_back(house: House) -> None:
    first = house.deploy(1)
    assert (first.before, first.is_adopted, sorted(first.checks)) == (None, False, ["candidate", "endpoint"])
    assert all(check.passed and check.rows == 40 for check in first.checks.values())
    assert (house.served(), house.running()) == ("1", ["toy"])
    assert house.registry.alias("toy", "champion") == 1

    with Load(first.predict_url) as load:
        second = house.deploy(2)
        load.wait_for(20)
    assert load.failures == []
    assert (second.before, second.url) == (1, first.url)
    assert (house.served(), house.running()) == ("2", ["toy"])
    assert house.registry.alias("toy", "champion") == 2

    before = service.list_endpoints(house.context)[0]
    again = house.deploy(2)
    assert (again.is_adopted, list(again.checks)) == (True, ["endpoint"])
    after = service.list_endpoints(house.context)[0]
    assert (after.supervisor, after.revisions) == (before.supervisor, before.revisions)

    assert service.stop_endpoint(house.context, "toy")
    revived = house.deploy(2)  # this very version was checked before it took over: no candidate is needed
    assert (revived.is_adopted, revived.url, house.served()) == (True, first.url, "2")

    back = launch.deploy_version("toy", 1)
    assert (back.before, back.url, house.served()) == (2, first.url, "1")
    assert house.registry.alias("toy", "champion") == 1


def tampered(record: EvaluationRecord, folder: Path) -> EvaluationRecord:
    """The record with the probabilities of one row changed."""
    store = Store.open(record.uri)
    store.download("predictions.parquet", folder / "predictions.parquet")
    frame = pl.read_parquet(folder / "predictions.parquet")
    rows = frame["probabilities"].to_list()
    rows[0] = [rows[0][-1], *rows[0][:-1]]
    frame.with_columns(pl.Series("probabilities", rows, dtype=frame.schema["probabilities"])).write_parquet(
        folder / "changed.parquet"
    )
    file = store.upload(folder / "changed.parquet", "changed.parquet")
    return record.model_copy(update={"predictions": file})


def test_a_failed_check_leaves_the_version_before_serving(house: House, tmp_path: Path) -> None:
    house.deploy(1)
    with pytest.raises(
        CheckFailed,
        match=r"version 2 .*row 0 '.*': expected label intent_\d, probability [\d.]+, .*; got label intent_\d",
    ):
        house.deploy(2, evaluation=tampered(house.models[1][1], tmp_path))
    assert (house.served(), house.running(), house.registry.alias("toy", "champion")) == ("1", ["toy"], 1)

    onnx = Path(house.registry.get("toy", 3).model.uri.removeprefix("file://")) / "model.onnx"
    onnx.write_bytes(onnx.read_bytes()[:-1] + b"\0")
    shutil.rmtree(house.context.home / "cache")  # where evaluation left a verified copy
    with pytest.raises(JobFailed, match=r"toy-candidate: .*model\.onnx") as caught:
        house.deploy(3)
    assert caught.value.__dict__["last_lines"]
    assert (house.served(), house.running(), house.registry.alias("toy", "champion")) == ("1", ["toy"], 1)


DEPLOY = (
    "from shipway.components.deploy.launch import deploy_version as d; d('toy', 2, {'name': 'toy', 'check_rows': 40})"
)


def test_a_deployment_that_is_killed_is_typed_again_and_ends_the_same(house: House) -> None:
    def is_candidate_coming_up() -> bool:
        return "toy-candidate" in house.running()

    def is_taking_over() -> bool:
        return any(state.name == "toy" and state.revisions == 2 for state in service.list_endpoints(house.context))

    first = house.deploy(1)
    with Load(first.predict_url) as load:
        # The champion moves before the endpoint: which goes on to take over by itself, be the step killed or not.
        for killed_when, champion in ((is_candidate_coming_up, 1), (is_taking_over, 2)):
            process = subprocess.Popen([sys.executable, "-c", DEPLOY], stderr=subprocess.DEVNULL)
            until(killed_when, 120)
            process.kill()
            process.wait()
            assert house.registry.alias("toy", "champion") == champion
        assert house.deploy(2).before == 1
        load.wait_for(10)
    assert load.failures == []
    assert (house.served(), house.running(), house.registry.alias("toy", "champion")) == ("2", ["toy"], 2)


class Betrayer(ProcessExecutor):
    """Serves another model at the endpoint than the manifest names: what the second check is for."""

    def __init__(self, context: Context, instead: ModelVersion) -> None:
        super().__init__(context)
        self.instead = instead

    def ensure(self, manifest: Manifest, *, backoff_limit: int = 0) -> Handle:
        if manifest["metadata"]["name"] == "toy" and "--model_version=2" in str(manifest):
            manifest = json.loads(json.dumps(manifest))
            container = manifest["spec"]["predictor"]["containers"][0]
            container["args"] += [f"--model_uri={self.instead.model.uri}", f"--model_digest={self.instead.digest}"]
            container["args"] += [f"--variant_digest={self.instead.model.served.digest}"]
        return super().ensure(manifest, backoff_limit=backoff_limit)


def test_a_check_that_fails_after_the_takeover_brings_the_version_before_back(house: House) -> None:
    betrayer = Betrayer(house.context, house.registry.get("toy", 3))
    with pytest.raises(CheckFailed, match="nothing was served before, and nothing is now"):
        house.deploy(2, executor=betrayer)
    assert house.running() == []  # nothing was served before: nothing is now
    assert house.registry.alias("toy", "champion") is None
    first = house.deploy(1)
    with Load(first.predict_url) as load:
        with pytest.raises(CheckFailed, match="version 1 is served again"):
            house.deploy(2, executor=betrayer)
        load.wait_for(10)
    assert load.failures == []
    assert (house.served(), house.running(), house.registry.alias("toy", "champion")) == ("1", ["toy"], 1)


def test_the_component_writes_report_record_and_url(house: House, tmp_path: Path) -> None:
    model, record = house.models[0]
    paths = {name: SimpleNamespace(path=str(tmp_path / name)) for name in ("model", "evaluation", "report", "check")}
    model.write(paths["model"].path)
    record.write(paths["evaluation"].path)
    spec = SPEC.model_dump_json()
    served = launch.kserve(paths["model"], paths["evaluation"], 1, spec, paths["report"])
    assert served.url.endswith("/v1/models/toy:predict")
    page = Path(paths["report"].path).read_text()
    assert "Latency p99" in page
    assert served.url in page
    step = StepRecord.from_json(house.registry.store.get(f"runs/{house.context.run}/steps/deploy.json"))
    assert (step.state, step.outputs["url"], step.outputs["version"]) == ("Succeeded", served.url, 1)
    assert (step.jobs, list(step.reports)) == (["toy-candidate", "toy"], ["Deployment"])

    checked = launch.check(served.url, paths["model"], paths["evaluation"], paths["check"], 10)
    assert checked.max_abs_diff <= 1e-5
    tampered(record, tmp_path).write(paths["evaluation"].path)
    with pytest.raises(SystemExit) as caught:
        launch.check(served.url, paths["model"], paths["evaluation"], paths["check"], 10)
    assert caught.value.code == 1
    assert "Rows that differ" in Path(paths["check"].path).read_text()


def test_a_version_that_misses_its_deadline_ends_the_step_as_failed_with_an_exit_code(
    house: House, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import sys, time\nif any('predict' in word for word in sys.orig_argv): time.sleep(30)\n"
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(slow)  # a machine on which predictors take long to start
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'slow'}:{ROOT}")
    model, record = house.models[0]
    paths = {name: SimpleNamespace(path=str(tmp_path / name)) for name in ("model", "evaluation", "report")}
    model.write(paths["model"].path)
    record.write(paths["evaluation"].path)
    spec = SPEC.model_copy(update={"deadline_s": 1}).model_dump_json()
    with pytest.raises(SystemExit) as caught:
        launch.kserve(paths["model"], paths["evaluation"], 1, spec, paths["report"])
    assert caught.value.code == 1
    assert "error: InferenceService toy-candidate failed" in capfd.readouterr().err
    step = StepRecord.from_json(house.registry.store.get(f"runs/{house.context.run}/steps/deploy.json"))
    assert (step.state, step.error.kind if step.error else "") == ("Failed", "JobFailed")
    assert step.error is not None
    assert (step.error.replica, step.error.exit_code) == ("predictor-1", None)
    assert (house.running(), house.registry.alias("toy", "champion")) == ([], None)


def test_what_does_not_belong_together_is_refused_before_anything_starts(house: House) -> None:
    with pytest.raises(InvalidSpec, match=r"endpoint\.name: 'other'"):
        house.deploy(1, spec=EndpointSpec(name="other"))
    with pytest.raises(InvalidSpec, match="evaluation: it is of model"):
        house.deploy(1, evaluation=house.models[1][1])
    with pytest.raises(UserError, match="no version"):
        house.deploy(9)
    house.registry.store.put("endpoints/toy.json", b"{")
    with pytest.raises(ShipwayError, match=r"endpoints/toy\.json: not JSON"):
        house.deploy(1)
    assert house.running() == []
