"""KServe's REST server on a given socket, with a drain that resets nobody, and errors in one line."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any

import uvicorn

from shipway.components.predict.connection import KEEP_ALIVE_S, Connection, connection_limit, error_body, tally
from shipway.components.predict.gate import Gate
from shipway.components.predict.light import light_kserve
from shipway.components.predict.room import Room

with light_kserve():
    import kserve
    from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotLive, ServerNotReady
    from kserve.model_server import app
    from kserve.protocol.rest.server import RESTServer
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response

STATUS: dict[type[Exception], int] = {
    InvalidInput: 400,
    ModelNotFound: 404,
    NotImplementedError: 501,
    ModelNotReady: 503,
    ServerNotLive: 503,
    ServerNotReady: 503,
}

IDLE_DRAIN_S = 5.0  # how long a drained server waits for a kept connection's next request before it closes it
ACCEPTED_S = 0.1  # until what was accepted last stands among the connections
TICKS_A_CHECK = 10  # of a tenth of a second


class DrainingServer(uvicorn.Server):  # type: ignore[misc]
    """Stops without resetting a connection.

    uvicorn closes idle kept connections at once, and a request that is on its way to one of them is lost. Here they
    stay open for `IDLE_DRAIN_S`: the next answer on each carries `Connection: close`.
    """

    def __init__(self, config: uvicorn.Config, gate: Gate, on_state: Callable[[str], None]) -> None:
        super().__init__(config)
        self.gate = gate
        self.on_state = on_state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True  # without uvicorn's second raise of the signal: a drained server ends with 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_state("serving")

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_CHECK == 0:
            self._check_connections()
        return bool(await super().on_tick(counter))

    def _check_connections(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            connection.check(now)
        tally.tell(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.gate.room.is_draining = True
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self.on_state("draining")
        await asyncio.sleep(ACCEPTED_S)
        began = time.monotonic()
        grace_s = self.config.timeout_graceful_shutdown or 30
        connections = self.server_state.connections
        while (connections or self.server_state.tasks) and time.monotonic() - began < grace_s:
            if time.monotonic() - began > min(IDLE_DRAIN_S, grace_s / 2):
                for connection in list(connections):
                    connection.shutdown()  # closes an idle one; a busy one after its answer
            await asyncio.sleep(0.02)
        for task in self.server_state.tasks:
            task.cancel(msg="not done within the grace period")
        tally.tell(float("inf"))
        await self.lifespan.shutdown()


class _REST(RESTServer):  # type: ignore[misc]
    """Health, metadata and metrics, without the middleware that only writes each request's time to the log."""

    def _add_middlewares(self, _app: Any) -> None:
        pass

    def _add_exception_handlers(self, app: Any) -> None:
        """One line of JSON each, and nothing in the log: KServe's own handlers write a traceback."""
        super()._add_exception_handlers(app)
        for kind, status in STATUS.items():
            app.add_exception_handler(kind, _handler(status))
        app.add_exception_handler(HTTPException, _as_it_says)
        app.add_exception_handler(Exception, _handler(500))


class PredictorServer(kserve.ModelServer):  # type: ignore[misc]
    """KServe's model server, served from a socket that someone else may own too.

    Args:
        listener: A bound socket.
        max_waiting: Predictions at once; see `Room`.
        on_state: Told `serving` when connections are accepted, `draining` when they no longer are.
        grace_s: How long requests may take to finish after SIGTERM.
    """

    def __init__(
        self, listener: socket.socket, *, max_waiting: int, on_state: Callable[[str], None], grace_s: float
    ) -> None:
        super().__init__(enable_grpc=False, workers=1, enable_latency_logging=False, grace_period=int(grace_s))
        self.listener = listener
        self.max_waiting = max_waiting
        self.on_state = on_state

    def start(self, models: list[kserve.Model]) -> None:
        """Serves until SIGTERM, then drains."""
        self._register_and_check_atleast_one_model_is_ready(models)
        rest = _REST(
            "kserve.model_server:app",
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            grace_period=self.grace_period,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        rest.create_application()
        app.router.redirect_slashes = False  # a redirect would name the host that the client made up
        gate = Gate(app, models[0], Room(self.max_waiting))
        config = rest.config
        config.app = gate
        config.http = Connection
        config.ws = "none"
        config.access_log = False
        config.backlog = 1024
        Connection.limit, Connection.room = connection_limit(), gate.room
        DrainingServer(config, gate, self.on_state).run(sockets=[self.listener])


def _error(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(error_body(reason), status, headers, media_type="application/json")


def _handler(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(_request: Request, error: Exception) -> Response:
        return _error(status, "the predictor failed to answer this request" if status == 500 else str(error))

    return handle


async def _as_it_says(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # the gate takes it for GET
    told = f"{request.method} is not allowed here; {headers.get('Allow') or 'nothing'} is"
    reason = {404: f"there is no {request.url.path[:80]} here", 405: told}
    return _error(error.status_code, reason.get(error.status_code, str(error.detail)), headers)
