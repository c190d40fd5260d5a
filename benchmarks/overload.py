"""Our predictor at twice what it can answer, against itself when it has little to do: latency, memory, log.

What it can answer is measured first, by 8 clients that ask without pause and of which none is refused. The server has
one core and the load generator another, but whatever else runs on the machine runs there too: it wants a machine that
is otherwise idle, as `serve` does. Each round measures capacity, idle and double anew; the ratio is the median of the
rounds. What a latency counts is said in `_overload_load.py`. `refusal_cpu_us` is the server's CPU time for a refused
request, beside that of an answered one. `unbounded` is the same predictor with no limit on requests that wait.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.serve import HERE, _server, prepare
from shipway.components.predict.connection import TELL_S
from shipway.components.predict.room import SHORT_S

SECONDS = 4.0
ROUNDS = 3
CLIENTS = "8"
IDLE_SHARE = 0.1  # of what it can answer
GOAL = 2.0
MEMORY_GOAL = 1.5
MALFORMED = 3000
UNBOUNDED = "1000000000"


def main() -> dict[str, Any]:
    """Ratio of the p99 of what was accepted at twice the capacity to the p99 when idle."""
    folder, cores = Path(tempfile.mkdtemp(prefix="shipway-bench-")), os.sched_getaffinity(0)
    try:
        model, command, env = prepare(folder)
        os.sched_setaffinity(0, {min(cores)})  # the server's, too; `_run` takes another
        with _server(command, env, folder) as (port, _):
            ours = _measure(port, model / "texts.json", max(cores))
            ours["log_bytes"] = _log_bytes(port, folder / f"{port}.log")
        with _server([*command, "--max_waiting", UNBOUNDED], env, folder) as (port, _):
            unbounded = _measure(port, model / "texts.json", max(cores))
        with _server([*command, "--max_waiting", "0"], env, folder) as (port, _):
            ours["refusal_cpu_us"] = _cpu_us(port, model / "texts.json", max(cores))
        return _line(ours, unbounded)
    finally:
        os.sched_setaffinity(0, cores)
        shutil.rmtree(folder, ignore_errors=True)


def _measure(port: int, texts: Path, core: int) -> dict[str, Any]:
    closed = [sys.executable, str(HERE / "_serve_load.py"), str(port), CLIENTS]
    _run([*closed, "1", str(texts)], core)
    opened = [sys.executable, str(HERE / "_overload_load.py"), str(port)]
    rounds, memory_mb = [], [0.0, 0.0]
    for i in range(ROUNDS):
        closed_line = _run([*closed, str(SECONDS / 2), str(texts)], core)
        capacity = closed_line["requests_per_s"]
        idle = _run([*opened, str(capacity * IDLE_SHARE), str(SECONDS), str(texts)], core)
        memory_mb[0] = memory_mb[0] if i else _memory_mb(port)
        double = _run([*opened, str(capacity * 2), str(SECONDS), str(texts)], core)
        time.sleep(2 * SHORT_S)  # a capacity measured with a short queue would count refusals
        line = {"capacity_per_s": round(capacity), "failures": closed_line["failures"]}
        rounds.append(line | {"idle": _rounded(idle), "double": _rounded(double)})
    memory_mb[1] = _memory_mb(port)
    answer_cpu_us = _cpu_us(port, texts, core)
    return {"rounds": rounds, "memory_mb": [round(mb) for mb in memory_mb], "answer_cpu_us": answer_cpu_us}


def _cpu_us(port: int, texts: Path, core: int) -> int:
    """The server's CPU time for a request, whatever it answers."""
    before = _cpu_s(port)
    line = _run([sys.executable, str(HERE / "_serve_load.py"), str(port), CLIENTS, str(SECONDS), str(texts)], core)
    return round((_cpu_s(port) - before) * 1e6 / (line["requests_per_s"] * SECONDS))


def _run(command: list[str], core: int) -> dict[str, Any]:
    command = ["taskset", "-c", str(core), *command]
    line: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return line


def _rounded(line: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 3) for key, value in line.items()}


def _process(port: int) -> Path:
    """Below /proc: the server whose command line ends with this port's options."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"shipway.components.predict.worker" in words and str(port).encode() in words:
                return folder
    raise RuntimeError(f"no predictor on port {port}")


def _memory_mb(port: int) -> float:
    """Highest resident size so far."""
    return int((_process(port) / "status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def _cpu_s(port: int) -> float:
    fields = (_process(port) / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
    rounds = ours["rounds"]
    ratio = round(statistics.median(each["double"]["p99_ms"] / each["idle"]["p99_ms"] for each in rounds), 2)
    memory = round(ours["memory_mb"][1] / ours["memory_mb"][0], 2)
    is_met = ratio <= GOAL and memory <= MEMORY_GOAL
    is_met = is_met and not any(each["double"]["other"] or each["failures"] for each in rounds)
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
