"""The local wire between `ensure`, an endpoint's supervisor and its predictors: one JSON line each way.

Each process listens on a Unix socket in the endpoint's folder (0700). A predictor also hands out the listening socket
that it was given: should the supervisor be killed, the next one takes the port over from the predictor that still
serves, and no connection is lost.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LISTEN_FD = "SHIPWAY_LISTEN_FD"  # the inherited listening socket that old and new predictors share
CONTROL = "SHIPWAY_CONTROL"  # path of the Unix socket on which a predictor answers its supervisor
_LIMIT = 1 << 22


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path through a descriptor of its folder: a Unix socket's address ends at 107 bytes, a work folder may not."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def bind(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, readable by this user only."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(path) as address:
        listener.bind(address)
    path.chmod(0o600)
    listener.listen(16)
    return listener


def call(path: Path, message: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Sends one request and gives its answer.

    Raises:
        OSError: nobody listens there, or no answer came in time.
    """
    with _connect(path, timeout_s) as connection:
        connection.sendall(json.dumps(message).encode() + b"\n")
        return _read(connection)


def fetch_listener(path: Path, timeout_s: float = 2.0) -> socket.socket:
    """The listening TCP socket that the predictor behind `path` serves on.

    Raises:
        OSError: nobody listens there, or it has no socket to give.
    """
    with _connect(path, timeout_s) as connection:
        connection.sendall(b'{"do": "listener"}\n')
        _, descriptors, _, _ = socket.recv_fds(connection, 64, 1)
        if not descriptors:
            raise OSError(f"{path}: no listening socket was handed over")
        return socket.socket(fileno=descriptors[0])


def serve_in_thread(path: Path, status: Callable[[], dict[str, Any]], listener_fd: int | None) -> None:
    """Answers `status` and `listener` requests until the process ends; a thread, since a model loads in the loop."""
    server = bind(path)

    def answer() -> None:
        while True:
            connection, _ = server.accept()
            with connection, suppress(OSError, ValueError):
                connection.settimeout(5)
                if _read(connection).get("do") == "listener":
                    if listener_fd is not None:
                        socket.send_fds(connection, [b"{}\n"], [listener_fd])
                    continue
                connection.sendall(json.dumps(status()).encode() + b"\n")

    threading.Thread(target=answer, name="control", daemon=True).start()


@contextmanager
def _connect(path: Path, timeout_s: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        with short_path(path) as address:
            connection.connect(address)
        yield connection


def _read(connection: socket.socket) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        block = connection.recv(1 << 16)
        if not block or len(data) > _LIMIT:
            raise OSError("the other side hung up")
        data += block
    answer = json.loads(data)
    return answer if isinstance(answer, dict) else {}
