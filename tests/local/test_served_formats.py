"""A really trained model out of a real object store, by ONNX Runtime and by its SavedModel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipway.artifacts import EvaluationRecord
from shipway.components.deploy.core import inference_service, predict_url
from shipway.components.deploy.parity import check_endpoint, kept_rows
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.context import Context
from shipway.executors.process import service
from shipway.executors.process.service_manifest import caller_env
from shipway.storage import Store, open_folder, write_artifact
from shipway.storage.server import ServerInfo
from tests.conftest import STORE_HOME
from tests.fixtures.tiny_model import Tiny

pytestmark = pytest.mark.heavy


@pytest.fixture
def context(store_uri: str) -> Iterator[Context]:
    found = Context.current()
    yield found
    for state in service.list_endpoints(found):
        service.stop_endpoint(found, state.name)


def evaluated(tiny: Tiny, folder: Path) -> EvaluationRecord:
    return measure(
        tiny.model, tiny.dataset, EvaluationSpec(baselines=[], bootstrap=0), store=Store.open(), folder=folder
    )


@pytest.mark.parametrize("variant", ["onnx", "saved_model"])
def test_a_trained_model_answers_over_http_as_it_was_evaluated(
    context: Context, tiny: Tiny, tmp_path: Path, variant: str
) -> None:
    record = evaluated(tiny, tmp_path)
    uri = f"{context.store_uri}/{variant}"
    stored = tiny.model.model_copy(update={"serving": variant, "uri": uri})
    open_folder(tiny.model.uri).download_folder("", stored.files, tmp_path / "model")
    Store.open().upload_folder(tmp_path / "model", variant)
    write_artifact(stored, uri)
    manifest = inference_service(
        EndpointSpec(name="tiny"),
        endpoint="tiny",
        version=1,
        model_uri=uri,
        model_digest=stored.digest,
        variant_digest=stored.served.digest,
        recipe=stored.recipe,
        answers=record.settings,
        store_uri=context.store_uri,
        run="test",
        namespace="default",
    )
    outcome = service.follow(context, service.ensure(context, manifest), deadline_s=180)
    assert outcome.state == "Ready", outcome.message
    found = check_endpoint(
        predict_url(outcome.url, "tiny", "v1"), kept_rows(record, stored, 40), stored.served.tolerance, 1
    )
    assert found.passed, found.reason
    assert found.rows == min(40, record.rows)


def test_an_endpoint_keeps_no_address_of_a_store_that_may_move(
    embedded_store: ServerInfo, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caller_env()["AWS_ENDPOINT_URL"] == embedded_store.endpoint  # someone else's store: it is told
    monkeypatch.setenv("SHIPWAY_HOME", os.environ[STORE_HOME])  # the home whose own embedded store this is
    env = caller_env()
    assert not [key for key in env if key in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    assert env["SHIPWAY_HOME"] == os.environ[STORE_HOME]
    for key in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    Store.open().put("found", b"by itself")
