"""A gateway before an endpoint: one that comes late, and then does not know the way for a while."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LATE_S = 0.5


@dataclass
class Gateway:
    url: str
    refused: int = 0


@contextmanager
def late_gateway(target: str, refusals: int = 2) -> Iterator[Gateway]:
    """Listens half a second late, answers `refusals` requests with an empty 404, and passes the others on."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if gateway.refused < refusals:
                gateway.refused += 1
                status, answer = 404, b""
            else:
                status, answer = passed_on(f"{target}{self.path}", body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.server_bind()  # the port is ours; nobody listens
    gateway = Gateway(f"http://127.0.0.1:{server.server_address[1]}")

    def serve() -> None:
        time.sleep(LATE_S)
        server.server_activate()
        server.serve_forever(0.05)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def passed_on(url: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
