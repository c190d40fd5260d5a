"""A bot with a sentence encoder, prepared, trained, judged and served in Shipway's own images.

Its predictor has keys of its own: it reads the encoder from the store, and nothing of the rows.
"""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway import step_pod
from shipway.compiling import compile_pipeline
from shipway.errors import AccessDenied
from shipway.storage import Store
from shipway.store_rights import seaweed_actions
from tests.cluster import overlays
from tests.cluster.bed import Bed, settings
from tests.cluster.bed.kubectl import Kubectl
from tests.fixtures import line_of_steps
from tests.fixtures.english_bot import ELSEWHERE, NAME, specs, surest
from tests.fixtures.strangers_rows import write_rows
from tests.unit.test_doctor_cluster import store_of_keys_that_may

URI = "s3://bucket/shipway"
PREDICTOR = "shipway-predictor-store"
SMALL = {"cpu": "200m", "memory": "2Gi"}
LIMIT_S = 900.0  # on a crowded machine, where TensorFlow is imported twice


@pytest.fixture
def keys(cluster: Bed, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of a predictor's keys, to a store of this test's own that pods reach."""
    with store_of_keys_that_may(tmp_path, seaweed_actions(URI, "predictor"), settings.HOST) as variables:
        yield variables


@pytest.fixture
def team(kubectl: Kubectl, shipped: Callable[..., None], keys: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """A namespace whose predictors have keys of their own, as docs/manifests.md says."""
    shipped("tensorflow", "predictor")
    namespace = f"team-{uuid.uuid4().hex[:8]}"
    admin = {**keys, "AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": "admin-secret"}
    overlays.install(kubectl, tmp_path / "overlay", "dev", namespace, overlays.stored(admin, URI))
    literals = [f"--from-literal={key}={value}" for key, value in overlays.stored(keys, URI).items()]
    kubectl("create", "secret", "generic", PREDICTOR, "-n", namespace, *literals)
    told = json.dumps({"stringData": {"SHIPWAY_PREDICTOR_SECRET": PREDICTOR}})
    kubectl("patch", "secret", "shipway-store", "-n", namespace, "--type", "merge", "-p", told)
    yield namespace
    kubectl("delete", "namespace", namespace, "--wait=false")


def start(kubectl: Kubectl, namespace: str, folder: Path) -> None:
    """Creates the pod of the pipeline's prep, which here does the other steps as well."""
    write_rows(folder / "rows.csv")
    given = {**specs("/step/rows.csv", SMALL), "promotion": {}, "endpoint": {"name": NAME, "resources": SMALL}}
    files = {"line.py": Path(line_of_steps.__file__).read_text(), "specs.json": json.dumps(given),
             "rows.csv": (folder / "rows.csv").read_text()}  # fmt: skip
    metadata = {"name": "step", "namespace": namespace}
    kubectl.apply(document={"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files})
    compiled = list(yaml.safe_load_all(compile_pipeline("train_and_deploy", folder / "pipeline.yaml").read_text()))
    pod = step_pod.step_pod(
        compiled, executor="exec-dataset", name="step", namespace=namespace, account="pipeline-runner",
        command=["python", "/step/line.py", "--execution_id", "7", "/step/specs.json"],
    )  # fmt: skip
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "step", "mountPath": "/step"})
    pod["spec"]["volumes"].append({"name": "step", "configMap": {"name": "step"}})
    kubectl.apply(document=pod)


def ended(kubectl: Kubectl, namespace: str) -> str:
    """What the pod wrote, once it has ended well."""
    until = time.monotonic() + LIMIT_S
    while (phase := kubectl.get("pod", "step", "-n", namespace)["status"].get("phase")) not in ("Succeeded", "Failed"):
        if time.monotonic() > until:
            break
        time.sleep(1)
    log = kubectl("logs", "step", "-n", namespace)
    assert phase == "Succeeded", f"{phase}: {log[-3000:]}\n{kubectl('get', 'pods', '-n', namespace)}"
    return log


def ask(kubectl: Kubectl, namespace: str, texts: list[str]) -> list[dict[str, Any]]:
    """The endpoint's answers."""
    service = kubectl.get("service", f"{NAME}-predictor", "-n", namespace)["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}/v1/models/{NAME}:predict"
    body = json.dumps({"instances": texts, "parameters": {"top_k": 3}}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as answer:
        answers: list[dict[str, Any]] = json.load(answer)["predictions"]
    return answers


@pytest.mark.proves(recipe="intents", strategy="single", executor="kubernetes")
def test_a_bot_of_one_language_is_asked_in_others_by_a_predictor_that_reads_no_rows(
    kubectl: Kubectl, team: str, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(kubectl, team, tmp_path)
    done = json.loads(ended(kubectl, team).strip().splitlines()[-1])
    assert (done["decision"], done["version"]) == ("blessed", 1)

    answers = ask(kubectl, team, list(ELSEWHERE))
    assert surest(answers) == list(ELSEWHERE.values())

    serving = kubectl.get("pods", "-n", team, "-l", f"serving.kserve.io/inferenceservice={NAME}")["items"]
    secrets = {each["secretRef"]["name"] for pod in serving for each in pod["spec"]["containers"][0]["envFrom"]}
    assert secrets == {PREDICTOR}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    store = Store.open()
    (encoder,) = [info.key for info in store.list("encoders/") if info.key.endswith("/encoder.json")]
    assert json.loads(store.get(encoder))["name"] == "use-multilingual-3"
    rows = next(info.key for info in store.list("datasets/"))
    with pytest.raises(AccessDenied):
        store.get(rows)
