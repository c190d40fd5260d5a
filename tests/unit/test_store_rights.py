"""Keys of replicas and predictors reach what they need, in a real store, and no alias."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipway.errors import AccessDenied, InvalidSpec
from shipway.storage import Store
from shipway.store_rights import policy, seaweed_actions
from tests.unit.test_doctor_cluster import store_of_keys_that_may

URI = "s3://bucket/shipway"


def opened(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, **given: str) -> Store:
    for name, value in {**variables, **given}.items():
        monkeypatch.setenv(name, value)
    return Store.open()


def test_a_replicas_keys_train_and_move_no_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = {"AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": "admin-secret"}
    with store_of_keys_that_may(tmp_path, seaweed_actions(URI, "replica")) as variables:
        steps = opened(variables, monkeypatch, **admin)
        for key in ("datasets/d/manifest.json", "models/bot/aliases/champion.json", "runs/r/run.json", "code/1/c"):
            steps.put(key, b"{}")
        replica = opened(variables, monkeypatch)
        assert replica.get("datasets/d/manifest.json") == b"{}"
        assert replica.get("code/1/c") == b"{}"
        assert replica.head("jobs/bot/lease.json") is None, "what is not there is not denied"
        for folder in ("jobs/bot/checkpoints", "sweeps/s/trials"):
            replica.put(f"{folder}/1", b"x")
            assert [info.key for info in replica.list(folder)] == [f"{folder}/1"]
            replica.delete(f"{folder}/1")
        for key in ("models/bot/aliases/champion.json", "datasets/d/manifest.json", "runs/r/run.json", "code/1/c"):
            with pytest.raises(AccessDenied):
                replica.put(key, b"mine")
        with pytest.raises(AccessDenied):
            replica.get("models/bot/aliases/champion.json")
        with pytest.raises(AccessDenied):
            replica.delete("models/bot/aliases/champion.json")
        assert steps.get("models/bot/aliases/champion.json") == b"{}"


def test_a_predictors_keys_read_models_and_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = {"AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": "admin-secret"}
    with store_of_keys_that_may(tmp_path, seaweed_actions(URI, "predictor")) as variables:
        steps = opened(variables, monkeypatch, **admin)
        for key in ("models/bot/content/a/manifest.json", "datasets/d/manifest.json", "encoders/e/encoder.json"):
            steps.put(key, b"{}")
        predictor = opened(variables, monkeypatch)
        assert predictor.get("models/bot/content/a/manifest.json") == b"{}"
        assert predictor.get("encoders/e/encoder.json") == b"{}", "its model may ask a sentence encoder"
        with pytest.raises(AccessDenied):
            predictor.put("models/bot/content/a/manifest.json", b"mine")
        with pytest.raises(AccessDenied):
            predictor.get("datasets/d/manifest.json")


def test_the_policy_says_the_same_to_aws() -> None:
    listed, read, written = policy(URI, "replica")["Statement"]
    assert listed["Resource"] == ["arn:aws:s3:::bucket"]
    assert read["Resource"] == [
        f"arn:aws:s3:::bucket/shipway/{name}/*" for name in ("code", "datasets", "jobs", "sweeps")
    ]
    assert written["Resource"] == [f"arn:aws:s3:::bucket/shipway/{name}/*" for name in ("jobs", "sweeps")]
    assert len(policy(URI, "predictor")["Statement"]) == 2, "it writes nothing"


@pytest.mark.parametrize("uri", ["file:///folder", "bucket/shipway", "s3:///shipway"])
def test_a_store_without_keys_is_said(uri: str) -> None:
    with pytest.raises(InvalidSpec, match="expected s3://BUCKET/PREFIX"):
        policy(uri, "replica")
