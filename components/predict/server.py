"""KServe's REST server on a given socket, with a drain that resets nobody, and errors in one line."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any

import uvicorn

from shipway.components.predict.light import light_kserve

with light_kserve():
    import kserve
    from fastapi import HTTPException, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from kserve.errors import InvalidInput, ModelNotFound
    from kserve.model_server import app
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.rest.server import RESTServer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]

IDLE_DRAIN_S = 5.0  # how long a drained server waits for a kept connection's next request before it closes it
ACCEPTED_S = 0.1  # until what was accepted last stands among the connections
logger = logging.getLogger("shipway.predict")


class BodyTooLarge(HTTPException):
    """Raised inside the application while it reads a body that exceeds the limit.

    FastAPI passes HTTP exceptions on; any other would become its own 400 on V2.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is larger than {limit} bytes; send fewer texts at a time")


class Gate:
    """Around the whole application: refuses bodies that are too large and the calls that would unload the model, and
    while draining asks each client to come back on a new connection, which the next version accepts."""

    def __init__(self, inner: Any, max_body_bytes: int) -> None:
        self.inner = inner
        self.max_body_bytes = max_body_bytes
        self.is_draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return

        async def send_on(message: Scope) -> None:
            if self.is_draining and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        if scope["path"].startswith("/v2/repository"):
            await _error(404, "a predictor serves one model; deploy another version instead")(scope, receive, send_on)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.max_body_bytes:
            await _error(413, BodyTooLarge(self.max_body_bytes).detail)(scope, receive, send_on)
            return
        seen = 0

        async def receive_on() -> Scope:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_body_bytes:
                raise BodyTooLarge(self.max_body_bytes)
            return message

        await self.inner(scope, receive_on, send_on)


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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.gate.is_draining = True
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
        await self.lifespan.shutdown()


class _DataPlane(DataPlane):  # type: ignore[misc]
    """Answers 400, not 500, to a binary tensor that cannot be decoded."""

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().decode(*args, **kwargs)
        except InvalidInput:
            raise
        except Exception as error:
            raise InvalidInput(f"the request cannot be decoded: {error}") from error


class _REST(RESTServer):  # type: ignore[misc]
    """Without the middleware that only writes each request's time to the log."""

    def _add_middlewares(self, _app: Any) -> None:
        pass

    def _add_exception_handlers(self, app: Any) -> None:
        super()._add_exception_handlers(app)
        app.add_exception_handler(InvalidInput, _bad_request)
        app.add_exception_handler(ModelNotFound, _not_found)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.add_exception_handler(HTTPException, _as_it_says)


class PredictorServer(kserve.ModelServer):  # type: ignore[misc]
    """KServe's model server, served from a socket that someone else may own too.

    Args:
        listener: A bound socket.
        max_body_bytes: See `Limits`.
        on_state: Told `serving` when connections are accepted, `draining` when they no longer are.
        grace_s: How long requests may take to finish after SIGTERM.
    """

    def __init__(
        self, listener: socket.socket, *, max_body_bytes: int, on_state: Callable[[str], None], grace_s: float
    ) -> None:
        super().__init__(enable_grpc=False, workers=1, enable_latency_logging=False, grace_period=int(grace_s))
        self.dataplane = _DataPlane(model_registry=self.registered_models)
        self.listener = listener
        self.max_body_bytes = max_body_bytes
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
            timeout_keep_alive=self.timeout_keep_alive,
        )
        rest.create_application()
        gate = Gate(app, self.max_body_bytes)
        config = rest.config
        config.app = gate
        config.access_log = False
        config.backlog = 1024
        DrainingServer(config, gate, self.on_state).run(sockets=[self.listener])


def _error(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": " ".join(reason.split())}, status)


async def _bad_request(_request: Request, error: Exception) -> JSONResponse:
    return _error(400, str(error))


async def _as_it_says(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, str(error.detail))


async def _not_found(_request: Request, error: Exception) -> JSONResponse:
    return _error(404, str(error))


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own checks of a V2 body (422 and a list by default) as one line."""
    assert isinstance(error, RequestValidationError)
    problem: dict[str, Any] = next(iter(error.errors()), {"loc": (), "msg": "invalid"})
    where = ".".join(str(part) for part in problem["loc"] if part not in ("body", "InferenceRequest", "bytes"))
    detail = (problem.get("ctx") or {}).get("error", "")
    return _error(400, f"{where or 'the body'}: {problem['msg']} {detail}")
