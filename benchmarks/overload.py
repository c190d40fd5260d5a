"""Our predictor at twice what it can answer, against itself when it has little to do: latency, memory, log.

What it can answer is measured first, by 16 clients that ask without pause. `unbounded` is the same predictor with no
limit on requests that wait. Wants a machine that is otherwise idle, as `serve` does.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.serve import HERE, _server
from shipway.components.predict.connection import TELL_S

SECONDS = 5.0
IDLE_SHARE = 0.1  # of what it can answer
GOAL = 2.0
MEMORY_GOAL = 1.5
MALFORMED = 3000
UNBOUNDED = "1000000000"


def main() -> dict[str, Any]:
    """Ratio of the p99 of what was accepted at twice the capacity to the p99 when idle."""
    folder = Path(tempfile.mkdtemp(prefix="shipway-bench-"))
    model = folder / "model"
    model.mkdir()
    try:
        env = {**os.environ, "SHIPWAY_HOME": str(folder / "home"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, str(HERE / "_serve_model.py"), str(model)], check=True, env=env, stderr=-3)
        command = [sys.executable, "-m", "shipway.components.predict.worker", "--model_name", "bench"]
        command += ["--model_uri", model.as_uri(), "--threshold", "0.5", "--http_port", "{port}"]
        with _server(command, env, folder) as (port, _):
            ours = _measure(port, model / "texts.json")
            ours["log_bytes"] = _log_bytes(port, folder / f"{port}.log")
        with _server([*command, "--max_waiting", UNBOUNDED], env, folder) as (port, _):
            unbounded = _measure(port, model / "texts.json")
        return _line(ours, unbounded)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(port: int, texts: Path) -> dict[str, Any]:
    closed = [sys.executable, str(HERE / "_serve_load.py"), str(port), "16"]
    _run([*closed, "1", str(texts)])
    capacity = _run([*closed, str(SECONDS), str(texts)])["requests_per_s"]
    opened = [sys.executable, str(HERE / "_overload_load.py"), str(port)]
    idle = _run([*opened, str(capacity * IDLE_SHARE), str(SECONDS), str(texts)])
    memory_mb = _memory_mb(port)
    double = _run([*opened, str(capacity * 2), str(SECONDS), str(texts)])
    return {
        "capacity_per_s": round(capacity),
        "idle": _rounded(idle),
        "double": _rounded(double),
        "memory_mb": [round(memory_mb), round(_memory_mb(port))],
    }


def _run(command: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def _rounded(line: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 3) for key, value in line.items()}


def _memory_mb(port: int) -> float:
    """Highest resident size so far of the server whose command line ends with this port's options."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"shipway.components.predict.worker" in words and str(port).encode() in words:
                return int((folder / "status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    raise RuntimeError(f"no predictor on port {port}")


def _log_bytes(port: int, log: Path) -> int:
    """What so many malformed requests write to the log."""
    before, chooser = log.stat().st_size, random.Random(3)
    whole = (
        b"POST /v1/models/bench:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 22\r\n\r\n" + b'{"instances": ["a b"]}'
    )
    for _ in range(MALFORMED):
        data = bytearray(whole)
        for _ in range(3):
            at = chooser.randrange(len(data))
            data[at : at + chooser.randrange(9)] = chooser.randbytes(3)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection, suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
    time.sleep(2 * TELL_S)  # the counts are written now and then
    return log.stat().st_size - before


def _line(ours: dict[str, Any], unbounded: dict[str, Any]) -> dict[str, Any]:
    ratio = round(ours["double"]["p99_ms"] / ours["idle"]["p99_ms"], 2)
    memory = round(ours["memory_mb"][1] / ours["memory_mb"][0], 2)
    is_met = ratio <= GOAL and memory <= MEMORY_GOAL and not ours["double"]["other"]
    return {
        "name": "overload",
        "ratio": ratio,
        "goal": GOAL,
        "meets_goal": is_met,
        "baseline": "its own p99 at a tenth of its capacity (lower is better); accepted requests at twice the capacity",
        "details": {"ours": ours, "unbounded": unbounded, "memory_ratio": memory, "malformed": MALFORMED},
    }


if __name__ == "__main__":
    print(json.dumps(main(), sort_keys=True))
