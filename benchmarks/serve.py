"""Our predictor against a plain `kserve.Model` that calls the SavedModel in its loop; one text a request.

Both serve the same model folder with the same encoder, one process each, asked in turn by a load generator in a
process of its own. The baseline runs with KServe's defaults.

Wants a machine that is otherwise idle: TensorFlow's threads spin and so keep their core from others, while a server
that sleeps between requests waits for its turn.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shipway.scoring import stored_manifest

HERE = Path(__file__).parent
ROUNDS = 3
SECONDS = 3.0
CLIENTS = (16, 1)
GOAL = 2.0
START_S = 180.0
PORT = "{port}"  # in a command, in place of the one that it is given


def main() -> dict[str, Any]:
    """Ratio of requests per second at 16 clients; the goal also asks for no worse a p50 at one client."""
    folder = Path(tempfile.mkdtemp(prefix="shipway-bench-"))
    try:
        model, ours, env = prepare(folder)
        plain = [sys.executable, str(HERE / "_serve_baseline.py"), str(model), PORT]
        with _server(ours, env, folder) as (port, ready_s), _server(plain, env, folder) as (plain_port, plain_ready_s):
            measured = _measure({"ours": port, "plain": plain_port}, model / "texts.json")
        return _line(measured, {"ours": ready_s, "plain": plain_ready_s})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prepare(folder: Path, sentence_encoder: str = "none") -> tuple[Path, list[str], dict[str, str]]:
    """A model in the folder, the command that serves it at `PORT`, and that command's environment."""
    model = folder / "model"
    model.mkdir(parents=True)
    store = (folder / "store").as_uri()  # holds the sentence encoder
    env = {
        **os.environ, "SHIPWAY_HOME": str(folder / "home"), "SHIPWAY_STORE": store, "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    make = [sys.executable, str(HERE / "_serve_model.py"), str(model), sentence_encoder]
    subprocess.run(make, check=True, env=env, stderr=-3)
    command = [sys.executable, "-m", "shipway.components.predict.worker", "--model_name", "bench"]
    manifest = stored_manifest(model.as_uri())
    command += ["--model_uri", model.as_uri(), "--model_digest", manifest.digest]
    command += ["--variant_digest", manifest.served.digest]
    return model, [*command, "--answers", '{"threshold": 0.5}', "--http_port", PORT], env


def _measure(ports: dict[str, int], texts: Path) -> dict[str, dict[int, dict[str, float]]]:
    """Side -> clients -> medians over rounds; the sides take turns, so that a busy minute hits both."""
    seen: dict[str, dict[int, list[dict[str, float]]]] = {side: {n: [] for n in CLIENTS} for side in ports}
    for turn in range(ROUNDS + 1):
        for clients in CLIENTS:
            for side in sorted(ports, reverse=turn % 2 == 1):
                command = [sys.executable, str(HERE / "_serve_load.py"), str(ports[side]), str(clients)]
                seconds = SECONDS if turn else 1.0
                done = subprocess.run([*command, str(seconds), str(texts)], check=True, capture_output=True)
                if turn:  # the first warms up
                    seen[side][clients].append(json.loads(done.stdout))
    return {
        side: {
            n: {key: round(statistics.median(line[key] for line in lines), 3) for key in lines[0]}
            for n, lines in by_clients.items()
        }
        for side, by_clients in seen.items()
    }


def _line(measured: dict[str, dict[int, dict[str, float]]], ready_s: dict[str, float]) -> dict[str, Any]:
    ours, plain = measured["ours"], measured["plain"]
    ratio = round(ours[16]["requests_per_s"] / plain[16]["requests_per_s"], 2)
    is_no_slower_alone = ours[1]["p50_ms"] <= plain[1]["p50_ms"]
    failures = sum(line["failures"] for side in measured.values() for line in side.values())
    return {
        "name": "serve",
        "ratio": ratio,
        "goal": GOAL,
        "meets_goal": ratio >= GOAL and is_no_slower_alone and not failures,
        "baseline": "plain kserve.Model that calls the SavedModel in its loop, requests/s at 16 clients",
        "details": {
            side: {**{f"clients_{n}": line for n, line in measured[side].items()}, "ready_s": round(ready_s[side], 1)}
            for side in measured
        },
    }


@contextmanager
def _server(command: list[str], env: dict[str, str], folder: Path) -> Iterator[tuple[int, float]]:
    """Port of a server that answers, and the seconds until it did."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(port) if word == PORT else word for word in command]
    began = time.monotonic()
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() - began > START_S:
                raise RuntimeError(f"{command[1:3]} does not serve: {(folder / f'{port}.log').read_text()[-500:]}")
            time.sleep(0.05)
        yield port, time.monotonic() - began
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/bench/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    print(json.dumps(main(), sort_keys=True))
