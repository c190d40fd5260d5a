"""A predictor in a process of its own, for tests that speak HTTP with it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shipway.artifacts import ModelManifest
from shipway.executors.process import service_control
from tests.fixtures import toy
from tests.local.test_endpoints import ROOT, until

# What `python -m` does, with other limits where a test cannot wait for the real ones.
START = "import sys; {settings}; from shipway.components.predict.worker import main; sys.exit(main())"


class Server:
    """One predictor on a socket of the test's."""

    def __init__(self, folder: Path, model: ModelManifest, settings: str = "pass", *options: str) -> None:
        self.model = model
        self.log = folder / "log"
        control = folder / "control.sock"
        with socket.socket() as listener, self.log.open("wb") as log:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
            env = os.environ | {
                "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
                "SHIPWAY_HOME": str(folder / "home"),
                service_control.LISTEN_FD: str(listener.fileno()),
                service_control.CONTROL: str(control),
            }
            command = [sys.executable, "-c", START.format(settings=settings), "--model_name", "toy"]
            command += ["--model_uri", model.uri, "--model_digest", model.digest]
            command += ["--variant_digest", model.served.digest, "--model_version", "3"]
            command += ["--max_instances", "50", *options]
            self.process = subprocess.Popen(
                command, env=env, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

        def is_serving() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return service_control.call(control, {"do": "status"}).get("state") == "serving"
            except OSError:
                return False

        until(is_serving, 60)

    def memory_mb(self) -> float:
        """Resident size."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text[:1] in (b"{", b"[") else text.decode()

    def predict(self, body: Any, **headers: str) -> tuple[int, Any]:
        return self.send("POST", "/v1/models/toy:predict", body, **({"content_type": "application/json"} | headers))

    def infer(self, body: Any, **headers: str) -> tuple[int, Any]:
        return self.send("POST", "/v2/models/toy/infer", body, **({"content_type": "application/json"} | headers))


@contextmanager
def served(root: Path, settings: str = "pass", *options: str) -> Iterator[Server]:
    """A predictor with a model of `toy`."""
    train = toy.rows(300)
    dataset = toy.write_dataset(root / "dataset", {"train": train, "eval": toy.rows(60, 1)})
    model = toy.write_model(root / "model", dataset, train)
    options = ("--answers", '{"threshold": 0.5}', "--input", '{"max_chars": 100}', *options)
    with serving(root, model, settings, *options) as found:
        yield found


@contextmanager
def serving(root: Path, model: ModelManifest, settings: str = "pass", *options: str) -> Iterator[Server]:
    """A predictor with a model; it must end without a traceback in its log."""
    found = Server(root, model, settings, *options)
    yield found
    found.process.terminate()
    assert found.process.wait(30) == 0  # drained: SIGTERM is the ordinary end
    assert "Traceback" not in found.log.read_text()
