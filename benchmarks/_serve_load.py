"""A load generator in a process of its own: `port clients seconds texts.json` -> one JSON line.

Raw sockets on one event loop, each client asking again as soon as it is answered: next to nothing of the time that is
measured is the client's own.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

PATH = "/v1/models/bench:predict"


class Client(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next one."""

    def __init__(self, bodies: list[bytes], until: float, done: asyncio.Future[None]) -> None:
        self.bodies, self.until, self.done = bodies, until, done
        self.latencies: list[float] = []
        self.failures = 0
        self._data = b""
        self._next = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        self.transport.write(self.bodies[self._next % len(self.bodies)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._data = b""
        self.latencies.append(time.perf_counter() - self._began)
        self.failures += not head.startswith(b"HTTP/1.1 200")
        if time.perf_counter() < self.until:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.failures += error is not None
        self.done.done() or self.done.set_result(None)


async def ask(port: int, clients: int, seconds: float, texts: list[str]) -> dict[str, Any]:
    """Requests per second and latencies in ms."""
    bodies = []
    for text in texts[:500]:
        body = json.dumps({"instances": [text]}).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        bodies.append(head.encode() + body)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made, waiting = [], []
    for i in range(clients):
        done: asyncio.Future[None] = loop.create_future()
        shifted = bodies[i * 29 :] + bodies[: i * 29]
        _, client = await loop.create_connection(
            lambda shifted=shifted, done=done: Client(shifted, began + seconds, done), "127.0.0.1", port
        )
        made.append(client)
        waiting.append(done)
    await asyncio.gather(*waiting)
    took = time.perf_counter() - began
    latencies = sorted(latency * 1000 for client in made for latency in client.latencies)
    return {
        "requests_per_s": len(latencies) / took,
        "p50_ms": statistics.median(latencies),
        "p99_ms": latencies[int(len(latencies) * 0.99)],
        "failures": sum(client.failures for client in made),
    }


if __name__ == "__main__":
    port, clients, seconds, path = sys.argv[1:]
    texts = json.loads(Path(path).read_text(encoding="utf-8"))
    print(json.dumps(uvloop.run(ask(int(port), int(clients), float(seconds), texts))))
