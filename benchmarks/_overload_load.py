"""An open load in a process of its own: `port rate seconds texts.json` -> one JSON line.

Requests are due at random moments at the given rate, whether or not earlier ones were answered, and go out on
`CONNECTIONS` kept connections. A latency counts from the moment that a request's bytes were written until its answer
was read, so this process's own lateness before the write is not in it (what it reads late is). That lateness stands
beside it: `late_p99_ms` from due to written, and `skipped`, the share that was not sent at all since it would have been
later than `LATE_S` (no connection was free, or this process had no core). What was really sent is `sent_per_s`.
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

CONNECTIONS = 256
LATE_S = 0.02  # sent all the same, a backlog of its own would make this a burst above the rate
DRAIN_S = 10.0


class Load:
    """Sockets by their file number, those that are free, and what came back."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.sent_at: dict[int, float] = {}
        self.data: dict[int, bytes] = {}
        self.codes: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.free: list[int] = []
        for _ in range(CONNECTIONS):
            self._open()

    def _open(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = connection.fileno()
        self.sockets[number], self.data[number] = connection, b""
        self.poll.register(number, select.EPOLLIN)
        self.free.append(number)

    def send(self, request: bytes) -> float:
        """The moment of writing."""
        number = self.free.pop()
        self.sent_at[number] = now = time.perf_counter()
        self.sockets[number].send(request)
        return now

    def read(self, wait_s: float) -> None:
        """Waits so long for an answer and takes all that have come (epoll's own time is in whole milliseconds)."""
        if select.select([self.poll], [], [], max(0.0, wait_s))[0]:
            for number, _ in self.poll.poll(0):
                self._read(number)

    def _read(self, number: int) -> None:
        block = self.sockets[number].recv(1 << 16)
        data = self.data[number] + block
        head, separator, body = data.partition(b"\r\n\r\n")
        if block and (not separator or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])):
            self.data[number] = data
            return
        self.data[number] = b""
        sent_at = self.sent_at.pop(number, None)
        if sent_at is not None:
            status = int(head[9:12]) if separator else 0
            self.codes[status] += 1
            if status == 200:
                self.latencies.append((time.perf_counter() - sent_at) * 1000)
        if block:
            self.free.append(number)
            return
        if sent_at is None:
            self.free.remove(number)
        self.sockets.pop(number).close()
        self._open()


def ask(port: int, rate: float, seconds: float, texts: list[str]) -> dict[str, Any]:
    """Answers by code, and latencies in ms of those that were accepted."""
    bodies = []
    for text in texts[:500]:
        body = json.dumps({"instances": [text]}).encode()
        head = f"POST /v1/models/bench:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        bodies.append(head.encode() + body)
    load, chooser, late, skipped = Load(port), random.Random(5), [], 0
    began = time.perf_counter()
    due = began + chooser.expovariate(rate)
    while due - began < seconds:
        now = time.perf_counter()
        if now < due or (not load.free and now < due + LATE_S):
            load.read(due - now if now < due else due + LATE_S - now)
            continue
        if now < due + LATE_S:
            late.append((load.send(bodies[len(late) % len(bodies)]) - due) * 1000)
            load.read(0)
        else:
            skipped += 1
        due += chooser.expovariate(rate)
    took = time.perf_counter() - began
    while load.sent_at and time.perf_counter() - began < seconds + DRAIN_S:
        load.read(0.1)
    latencies, late = sorted(load.latencies) or [float("nan")], sorted(late)
    return {
        "sent_per_s": len(late) / took,
        "skipped": skipped / (skipped + len(late)),
        "accepted_per_s": load.codes[200] / took,
        "refused": load.codes[503] / len(late),
        "other": len(late) - load.codes[200] - load.codes[503],
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[int(len(latencies) * 0.99)],
        "late_p99_ms": late[int(len(late) * 0.99)],
    }


if __name__ == "__main__":
    port, rate, seconds, path = sys.argv[1:]
    texts = json.loads(Path(path).read_text(encoding="utf-8"))
    print(json.dumps(ask(int(port), float(rate), float(seconds), texts)))
