"""An open load in a process of its own: `port rate seconds texts.json` -> one JSON line.

Requests are due at random moments at the given rate, whether or not earlier ones were answered; a latency counts from
the moment that its request was due. Each takes a free kept connection, or opens one.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop

MAX_CONNECTIONS = 800
DRAIN_S = 20.0


class Client(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.load.is_free(self)

    def ask(self, due: float, body: bytes) -> None:
        self.due = due
        self.transport.write(body)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            return
        self._data = b""
        self.load.answered(int(head[9:12]), time.perf_counter() - self.due)
        self.load.is_free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.load.connections -= 1


class Load:
    """Requests that are due, connections that are free, and what came back."""

    def __init__(self, port: int, bodies: list[bytes]) -> None:
        self.port, self.bodies = port, bodies
        self.waiting: list[float] = []
        self.free: list[Client] = []
        self.connections = self.sent = 0
        self.codes: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.late: list[float] = []  # ms from due to sent: no connection was free, or this process had no core

    def is_free(self, client: Client) -> None:
        if self.waiting:
            self._send(client, self.waiting.pop(0))
        else:
            self.free.append(client)

    def _send(self, client: Client, due: float) -> None:
        self.sent += 1
        self.late.append((time.perf_counter() - due) * 1000)
        client.ask(due, self.bodies[self.sent % len(self.bodies)])

    def answered(self, status: int, seconds: float) -> None:
        self.codes[status] += 1
        if status == 200:
            self.latencies.append(seconds * 1000)

    def is_due(self, due: float) -> None:
        while self.free:
            client = self.free.pop()
            if not client.transport.is_closing():
                self._send(client, due)
                return
        self.waiting.append(due)
        if self.connections < MAX_CONNECTIONS:
            self.connections += 1
            loop = asyncio.get_running_loop()
            self.opening = loop.create_task(loop.create_connection(lambda: Client(self), "127.0.0.1", self.port))


async def ask(port: int, rate: float, seconds: float, texts: list[str]) -> dict[str, Any]:
    """Answers by code, and latencies in ms of those that were accepted."""
    bodies = []
    for text in texts[:500]:
        body = json.dumps({"instances": [text]}).encode()
        head = f"POST /v1/models/bench:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        bodies.append(head.encode() + body)
    load, chooser, count = Load(port, bodies), random.Random(5), 0
    due = began = time.perf_counter()
    while due - began < seconds:
        due += chooser.expovariate(rate)
        while (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(max(0.0, left - 0.0002))
        load.is_due(due)
        count += 1
        if not count % 50:
            await asyncio.sleep(0)
    until = time.perf_counter() + DRAIN_S
    while sum(load.codes.values()) < count and time.perf_counter() < until:
        await asyncio.sleep(0.01)
    took = time.perf_counter() - began
    latencies = sorted(load.latencies) or [float("nan")]
    return {
        "due": count,
        "accepted_per_s": load.codes[200] / took,
        "refused": load.codes[503] / count,
        "other": count - load.codes[200] - load.codes[503],
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[int(len(latencies) * 0.99)],
        "sent_late_p99_ms": sorted(load.late)[int(len(load.late) * 0.99)],
    }


if __name__ == "__main__":
    port, rate, seconds, path = sys.argv[1:]
    texts = json.loads(Path(path).read_text(encoding="utf-8"))
    print(json.dumps(uvloop.run(ask(int(port), float(rate), float(seconds), texts))))
