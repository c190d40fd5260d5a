"""The client's one connection."""

from __future__ import annotations

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shipway.client import Client

interrupted = threading.Event()


class Endpoint(BaseHTTPRequestHandler):
    """Whoever asks for `slow` is interrupted while waiting for the answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        instances = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        if instances == ["slow"]:
            os.kill(os.getpid(), signal.SIGUSR1)
            interrupted.wait(60)
        body = json.dumps({"predictions": instances}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_after_an_interrupt_the_next_question_has_its_own_answer() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        with Client(f"http://127.0.0.1:{server.server_port}", "m") as client:
            assert client.predict(["first"]) == ["first"]
            with pytest.raises(KeyboardInterrupt):
                client.predict(["slow"])
            interrupted.set()
            assert client.predict(["next"]) == ["next"]
    finally:
        signal.signal(signal.SIGUSR1, before)
        interrupted.set()
        server.shutdown()
        server.server_close()
