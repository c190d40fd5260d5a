"""What stands between the socket and the model: answers inference itself, hands health and metrics to KServe's app.

Predictions do not go through KServe's routes: those parse and validate a whole V2 body before anything can refuse it.
They do go through `kserve.Model`, and so into its metrics.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shipway.components.predict import v2
from shipway.components.predict.connection import SMALL_BODY, Refused, error_body, tally
from shipway.components.predict.room import Room
from shipway.inputs.base import BadRequest

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]

BODIES_BYTES = 48 << 20  # of larger bodies, all together
PATIENCE_S = 3.0  # for a large body that is still coming, while others have no room for theirs
JSON_TYPES = ("", "application/json", "application/x-www-form-urlencoded")  # the last is what curl -d sends
BINARY_TYPE = "application/octet-stream"
_V1 = re.compile(r"/v1/models/([^/:]+):predict")
_V2 = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
logger = logging.getLogger("shipway.predict")


class ClientGone(Exception):
    """The client hung up before its request was complete."""


@dataclass(frozen=True)
class Payload:
    """What `Predictor.preprocess` gets: a whole body.

    Attributes:
        is_v2: The protocol.
        body: As it came.
        json_bytes: How much of it is JSON; tensors follow.
    """

    is_v2: bool
    body: bytes
    json_bytes: int


class Gate:
    """The ASGI application.

    While draining it asks each client to come back on a new connection, which the next version accepts.

    Args:
        inner: KServe's application.
        model: A `Predictor`.
        room: For predictions; beyond it they are answered 503 (docs/decisions/0130).
    """

    def __init__(self, inner: Any, model: Any, room: Room) -> None:
        self.inner = inner
        self.model = model
        self.room = room
        self.max_body_bytes: int = model.reader.max_body_bytes
        self._bodies_bytes = 0
        self._coming: dict[asyncio.Timeout, float] = {}  # large bodies that are being read, and since when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        has_begun = False

        async def send_on(message: Scope) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                if self.room.is_draining:
                    message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        try:
            await self._route(scope, receive, send_on)
        except ClientGone:
            tally.add("clients that went away")
        except Exception as error:  # noqa: BLE001 - becomes the answer
            if not has_begun:
                await self._answer_error(error, send_on)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        v1, infer = _V1.fullmatch(path), _V2.fullmatch(path)
        if v1 or infer:
            if method != "POST":
                raise Refused(405, f"{method} is not allowed here; POST is", allow="POST")
            name, version = (v1.group(1), None) if v1 else infer.groups()  # type: ignore[union-attr]
            self._check_model(name, version)
            body, headers = await self._infer(scope, receive, is_v2=infer is not None)
            await answer(send, 200, body, headers)
            return
        if path.startswith("/v2/repository") or path.endswith(":explain"):
            raise Refused(404, "a predictor serves one model and nothing but predictions of it")
        if method == "HEAD":  # answered as GET; the connection leaves the body out
            scope = {**scope, "method": "GET"}
        await self.inner(scope, _no_body, send)

    def _check_model(self, name: str, version: str | None) -> None:
        if name != self.model.name:
            raise Refused(404, f"no model {name[:80]!r} is served here; {self.model.name} is")
        if version is not None and version != self.model.version:
            raise Refused(
                404, f"{name}: version {version[:40]!r} is not served here; {self.model.version or 'an unnamed one'} is"
            )
        if not self.model.ready:
            raise Refused(503, f"model {name} is not ready yet", retry_after="1")

    async def _infer(self, scope: Scope, receive: Receive, is_v2: bool) -> tuple[bytes, dict[str, str]]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        is_binary = _check_type(headers, is_v2)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.max_body_bytes:
            raise self._too_large()
        self._check_room()
        body = await self._read(receive)
        try:
            json_bytes = _json_bytes(headers, len(body)) if is_binary else len(body)
            self._check_room()
            self.room.taken += 1
            try:
                return await self.model(Payload(is_v2, body, json_bytes), headers=headers)  # type: ignore[no-any-return]
            finally:
                self.room.taken -= 1
        finally:
            self._bodies_bytes -= _counted(len(body))

    def _check_room(self) -> None:
        if self.room.taken >= self.room.limit:
            raise Refused(503, self.room.reason, retry_after="1")

    async def _read(self, receive: Receive) -> bytes:
        """The whole body; `_bodies_bytes` holds it until the caller gives it back."""
        parts: list[bytes] = []
        size = 0
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as coming:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    part = message.get("body", b"")
                    self._bodies_bytes += _counted(size + len(part)) - _counted(size)
                    size += len(part)
                    if size > self.max_body_bytes:
                        raise self._too_large()
                    if size > SMALL_BODY:
                        self._coming.setdefault(coming, loop.time())
                        if self._bodies_bytes > BODIES_BYTES and not self._makes_room(coming, loop.time()):
                            raise self._too_many()
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            self._bodies_bytes -= _counted(size)
            raise self._too_many() from None
        except BaseException:
            self._bodies_bytes -= _counted(size)
            raise
        finally:
            self._coming.pop(coming, None)

    def _makes_room(self, newcomer: asyncio.Timeout, now: float) -> bool:
        """Gives up the large body that has been coming longest, where that is too long: nobody may hold the room."""
        oldest = min(self._coming, key=self._coming.__getitem__)
        if oldest is newcomer or now - self._coming[oldest] < PATIENCE_S:
            return False
        del self._coming[oldest]
        oldest.reschedule(now)
        return True

    def _too_many(self) -> Refused:
        return Refused(503, "too many large requests at once; try again later", retry_after="1")

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self.max_body_bytes} bytes; send fewer instances at a time")

    async def _answer_error(self, error: Exception, send: Send) -> None:
        """The error as an answer. What a request held is never written to the log."""
        if isinstance(error, BadRequest):
            error = Refused(400, str(error))
        if not isinstance(error, Refused):
            where = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("a request failed: %s in %s:%s", type(error).__name__, where.filename, where.lineno)
            error = Refused(500, "the predictor failed to answer this request; its log says where")
        tally.add(f"requests refused with {error.status}")
        with suppress(OSError):
            await answer(
                send, error.status, error_body(str(error)), {"content-type": "application/json"} | error.headers
            )


async def answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    """Sends a whole answer."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _no_body() -> Scope:
    """For KServe's routes, none of which needs one: what a client sends there is thrown away."""
    return {"type": "http.request", "body": b"", "more_body": False}


def _counted(size: int) -> int:
    return size if size > SMALL_BODY else 0


def _check_type(headers: dict[str, str], is_v2: bool) -> bool:
    """Whether tensors may follow the JSON; refuses encodings and types that are not understood."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise Refused(415, f"content-encoding {encoding[:40]!r} is not understood; send the body as it is",
                      accept_encoding="identity")  # fmt: skip
    given, _, rest = headers.get("content-type", "").lower().partition(";")
    given = given.strip()
    charset = re.search(r'charset\s*=\s*"?([^";\s]+)', rest)
    if charset and charset.group(1) not in ("utf-8", "utf8", "us-ascii"):
        raise Refused(415, f"charset {charset.group(1)[:40]!r} is not understood; send UTF-8")
    if given == BINARY_TYPE or v2.JSON_LENGTH in headers:
        if is_v2:
            return True
        given = "" if given == BINARY_TYPE else given
    if given not in JSON_TYPES and not (given.startswith("application/") and given.endswith("+json")):
        raise Refused(415, f"content-type {given[:60]!r} is not understood; send application/json")
    return False


def _json_bytes(headers: dict[str, str], size: int) -> int:
    given = headers.get(v2.JSON_LENGTH)
    if given is None:
        raise BadRequest(f"{BINARY_TYPE} needs the header Inference-Header-Content-Length: the JSON's size in bytes")
    if not (given.isascii() and given.isdigit()) or int(given[:20]) > size:
        raise BadRequest(f"Inference-Header-Content-Length: {given[:20]!r} is not a number from 0 to the body's {size}")
    return int(given)
