"""A bot with a sentence encoder: prepared, trained and judged in one image, served in another that has no weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shipway.store_rights import seaweed_actions
from tests.fixtures import line_of_steps
from tests.fixtures.english_bot import ELSEWHERE, NAME, specs, surest
from tests.fixtures.strangers_rows import write_rows
from tests.images.conftest import Run
from tests.images.test_running import ask, free_port, is_listening, until
from tests.unit.test_doctor_cluster import store_of_keys_that_may

pytestmark = [pytest.mark.images, pytest.mark.timeout(7200)]

URI = "s3://bucket/shipway"


def test_a_predictor_without_weights_asks_the_encoder_that_prep_put_into_the_store(image: Run, tmp_path: Path) -> None:
    """With keys that read no rows."""
    given = tmp_path / "given"
    given.mkdir()
    tmp_path.chmod(0o755)
    write_rows(given / "rows.csv")
    (given / "specs.json").write_text(json.dumps(specs("/step/rows.csv", {})), encoding="utf-8")
    (given / "line.py").write_text(Path(line_of_steps.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "store").mkdir()
    with store_of_keys_that_may(tmp_path / "store", seaweed_actions(URI, "predictor")) as keys:
        admin = {"AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": "admin-secret", "SHIPWAY_EXECUTOR": "process"}
        line = ["python", "/step/line.py", "/step/specs.json"]
        code, text = image("tensorflow").run(line, env={**keys, **admin}, mounts={given: "/step"}, timeout_s=1800)
        assert code == 0, text[-3000:]
        port = free_port()
        served = {"model_name": NAME, **json.loads(text.strip().splitlines()[-1]), "http_port": port}
        command = ["python", "-m", "shipway.components.predict.worker", *(f"--{k}={v}" for k, v in served.items())]
        process = image("predictor").start(command, env=keys)
        until(lambda: is_listening(port) and ask(port, "GET", f"/v2/models/{NAME}/ready")[0] == 200, process)
        status, answer = ask(port, "POST", f"/v1/models/{NAME}:predict", {"instances": list(ELSEWHERE)})
        process.terminate()
        assert process.wait(40) == 0
    assert status == 200, answer
    assert surest(answer["predictions"]) == list(ELSEWHERE.values())
