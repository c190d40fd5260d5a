"""A small TCP proxy before a real server, which resets connections or answers 503 when a test says so."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from urllib.parse import urlsplit

BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Faults are counted down, one for each connection that meets them; without any it only passes bytes on.

    Attributes:
        resets: Connections to reset as soon as the request begins to arrive.
        busy: Requests to answer with 503.
        lost_answers: Requests that the server gets whole, but whose answer is cut off before its first byte.
        cut_answers: (how many, after how many bytes): answers that break off.
        connections: How many were made.
    """

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self.resets = self.busy = self.lost_answers = self.connections = 0
        self.cut_answers = (0, 0)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stops listening; from now on the endpoint is dead."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(self._target) as server:
                self._pump(client, server)
        except OSError:
            return

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        sent, limit, swallow = 0, -1, False
        while True:
            ready, _, _ = select.select([client, server], [], [])
            if client in ready:
                data = client.recv(1 << 16)
                if not data:
                    return None
                if data.split(b" ", 1)[0] in (b"GET", b"PUT", b"POST", b"HEAD", b"DELETE"):
                    fault = self._fault()
                    if fault == "reset":
                        return _reset(client)
                    if fault == "busy":
                        # Read the rest first: closing with unread bytes would reset, not answer.
                        _drain(client)
                        return client.sendall(BUSY)
                    swallow, sent = fault == "lost", 0
                    limit = self.cut_answers[1] if fault == "cut" else -1
                server.sendall(data)
            if server in ready:
                data = server.recv(1 << 16)
                if not data:
                    return None
                if swallow and not data.startswith(b"HTTP/1.1 100"):
                    return _reset(client)
                if 0 <= limit < sent + len(data):
                    client.sendall(data[: limit - sent])
                    return _reset(client)
                sent += len(data)
                client.sendall(data)

    def _fault(self) -> str:
        with self._lock:
            for name, fault in (("resets", "reset"), ("busy", "busy"), ("lost_answers", "lost")):
                if getattr(self, name):
                    setattr(self, name, getattr(self, name) - 1)
                    return fault
            if self.cut_answers[0]:
                self.cut_answers = (self.cut_answers[0] - 1, self.cut_answers[1])
                return "cut"
            return ""


def _drain(client: socket.socket) -> None:
    while select.select([client], [], [], 0.05)[0] and client.recv(1 << 16):
        pass


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
