"""Each image at its work, as a cluster starts it: user 1000, read-only root, PID 1, real storage.

Variables that a manifest of ours would hold (SHIPWAY_TRAINING, SHIPWAY_JOB) are written here, so that a replica can be
had without a job; tests/cluster/test_pipelines.py has whole manifests.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway.artifacts import ModelManifest
from shipway.storage import read_artifact
from shipway.store_secret import KEYS
from tests.fixtures.tiny_model import Tiny, document
from tests.images.conftest import Run
from tools.images.containers import Container

pytestmark = [pytest.mark.images, pytest.mark.timeout(7200)]

WORKER = ["python", "-m", "shipway.components.train.worker"]
SHORT = {"steps": 12, "checkpoint_steps": 4, "batch_size": 16}


def storage() -> dict[str, str]:
    """What a pod gets from its Secret: the keys that an overlay gives it, and no others."""
    return {key: os.environ[key] for key in KEYS}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_launcher_compiles_the_pipeline_and_executes_a_step(image: Run, tmp_path: Path) -> None:
    launcher = image("launcher")
    code, text = launcher.run(["sh", "-c", "shipway compile train_and_deploy -o /tmp/p.yaml >&2 && cat /tmp/p.yaml"])
    assert code == 0, text
    ir = next(yaml.safe_load_all(text[text.index("# train-and-deploy") :]))
    executor = ir["deploymentSpec"]["executors"]["exec-plan"]["container"]
    outputs = ir["components"]["comp-plan"]["outputDefinitions"]["parameters"]
    tmp_path.chmod(0o755)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,intent\n" + "".join(f"word{i} on,a\nword{i} off,b\n" for i in range(50)))
    given = {
        "inputs": {
            "parameterValues": {
                "name": "bot",
                "data": "/data/rows.csv",
                "input_column": "text",
                "label_column": "intent",
            }
        },
        "outputs": {
            "parameters": {name: {"outputFile": f"/tmp/outputs/{name}"} for name in outputs},
            "outputFile": "/tmp/outputs/executor_output.json",
        },
    }
    command = [*executor["command"], *executor["args"]]
    command = [json.dumps(given) if word == "{{$}}" else word for word in command]
    shell = [
        "sh",
        "-c",
        '"$@" >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }; cat /tmp/outputs/executor_output.json',
        "sh",
    ]
    # Neither a cluster nor a store is there: the variables of its pod are tried in tests/unit/test_step_pod.py.
    env = {"SHIPWAY_STORE": "file:///tmp/store", "SHIPWAY_EXECUTOR": "process"}
    code, text = launcher.run([*shell, *command], env=env, mounts={tmp_path: "/data"})
    assert code == 0, text
    values = json.loads(text)["parameterValues"]
    assert json.loads(values["dataset"])["label_column"] == "intent"
    assert json.loads(values["training"])["name"] == "bot"


def test_tensorflow_trains_against_the_store(image: Run, tiny: Tiny, store_uri: str) -> None:
    training = json.dumps(document(tiny.dataset, f"{store_uri}/jobs/in-a-container", **SHORT))
    env = {**storage(), "SHIPWAY_TRAINING": training, "SHIPWAY_JOB": "in-a-container"}
    code, text = image("tensorflow").run(WORKER, env=env, timeout_s=900)
    assert code == 0, text[-3000:]
    model = read_artifact(ModelManifest, f"{store_uri}/jobs/in-a-container/model")
    assert {file.path for file in model.files} >= {"model.onnx", "encoder.json"}


@pytest.mark.parametrize("name", ["tensorflow", "horovod"])
def test_a_replica_that_waits_for_its_peers_ends_at_sigterm(image: Run, tiny: Tiny, store_uri: str, name: str) -> None:
    """It is PID 1, waits in C++ code with the interpreter's lock, and TensorFlow has a handler of its own."""
    ports = [free_port(), free_port()]
    cluster = {"chief": [f"127.0.0.1:{ports[0]}"], "worker": [f"127.0.0.1:{ports[1]}"]}
    training = document(tiny.dataset, f"{store_uri}/jobs/alone", strategy="multi_worker", workers=2, **SHORT)
    env = {
        **storage(),
        "SHIPWAY_TRAINING": json.dumps(training),
        "SHIPWAY_JOB": "alone",
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}}),
    }
    process = image(name).start(WORKER, env=env)
    until(lambda: is_listening(ports[0]), process)
    process.terminate()
    assert process.wait(20) == 143


def test_two_ranks_train_with_horovod_in_one_container(image: Run, tiny: Tiny, store_uri: str) -> None:
    training = document(tiny.dataset, f"{store_uri}/jobs/ranks", strategy="horovod", workers=2, **SHORT)
    env = {**storage(), "SHIPWAY_TRAINING": json.dumps(training), "SHIPWAY_JOB": "ranks"}
    command = [
        "mpirun",
        "--oversubscribe",
        "-np",
        "2",
        "-bind-to",
        "none",
        "--mca",
        "btl_vader_single_copy_mechanism",
        "none",
    ]
    code, text = image("horovod").run([*command, *WORKER], env=env, timeout_s=900)
    assert code == 0, text[-3000:]
    assert read_artifact(ModelManifest, f"{store_uri}/jobs/ranks/model").workers == 2


def test_mpiruns_ssh_finds_its_daemon_and_horovod_over_there(image: Run, tmp_path: Path) -> None:
    """As MPIJob v2beta1 has it: one key pair, root's, for user and host alike; sshd is the image's command."""
    horovod = image("horovod")
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "id_rsa"], check=True)
    (tmp_path / "authorized_keys").write_text((tmp_path / "id_rsa.pub").read_text())
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    tmp_path.chmod(0o755)
    secret = {tmp_path: "/home/shipway/.ssh"}
    server = horovod.start(mounts=secret)
    until(lambda: is_listening(2222), server)
    horovod_there = "python -c 'import horovod.tensorflow as h; h.init(); print(h.size(), \"rank\")'"
    there = f"command -v orted && mpirun --version && {horovod_there}"
    code, text = horovod.run(["ssh", "127.0.0.1", there], mounts=secret)
    assert code == 0, text
    assert "4.1.8" in text
    assert text.splitlines()[-1] == "1 rank"
    server.terminate()
    assert server.wait(20) in (0, 143, 255)


def test_the_predictor_answers_and_drains_at_sigterm(image: Run, tiny: Tiny, store_uri: str) -> None:
    port = free_port()
    arguments = {
        "model_name": "tiny",
        "model_uri": tiny.model.uri,
        "model_digest": tiny.model.digest,
        "variant_digest": tiny.model.served.digest,
        "http_port": port,
    }
    command = ["python", "-m", "shipway.components.predict.worker", *(f"--{k}={v}" for k, v in arguments.items())]
    process = image("predictor").start(command, env=storage())
    until(lambda: is_listening(port) and ask(port, "GET", "/v2/models/tiny/ready")[0] == 200, process)
    status, answer = ask(port, "POST", "/v1/models/tiny:predict", {"instances": ["turn on the light in the kitchen"]})
    assert status == 200
    assert answer["predictions"][0]["label"] in tiny.model.labels
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["play jazz"]}
    status, answer = ask(port, "POST", "/v2/models/tiny/infer", {"inputs": [tensor]})
    assert status == 200, answer
    process.terminate()
    assert process.wait(40) == 0


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text[:1] == b"{" else text


def is_listening(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def until(is_so: Any, process: subprocess.Popen[str], deadline_s: float = 180) -> None:
    """Waits for a condition; what the process wrote is told when it ends or time is over."""
    end = time.monotonic() + deadline_s
    while not is_so():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"exit code {process.returncode}: {process.communicate()[0][-3000:]}")
        time.sleep(0.1)


def test_a_container_that_a_test_leaves_behind_is_ended(image: Run) -> None:
    container: Container = image("launcher")
    process = container.start(["sleep", "600"])
    until(lambda: (container.bundle / "state").exists() and any((container.bundle / "state").iterdir()), process)
    container.remove()
    assert process.wait(20) != 0
