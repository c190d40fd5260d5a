"""One client's connection: uvicorn's HTTP protocol with bounds on what a client may make the server hold.

uvicorn bounds how long a kept connection may be idle, and nothing else: not how long a head or a body may take, not a
head's size, not how many requests a client may send ahead of its answers (docs/decisions/0130).
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from collections import Counter
from functools import cache
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from shipway.components.predict.room import Room

HEAD_S = 10.0  # from a connection's or a request's first moment until its head is complete
BODY_S = 30.0  # from the head until the body is complete
STALL_S = 20.0  # how long an answer may lie unread
LINGER_S = 2.0  # a refused client may go on sending for so long: closed at once, it would never read the refusal
KEEP_ALIVE_S = 65.0  # above the 60 s of the usual proxies, so that they close first
HEAD_BYTES = 32 << 10
MAX_AHEAD = 8  # requests that were sent before the answer to an earlier one
MAX_CONNECTIONS = 1000
RESERVE = 64  # connections beyond the limit, so that a probe still gets in
DISCARD_BYTES = 64 << 20  # of a body that was refused already
SMALL_BODY = 64 << 10  # counts against no budget: the connections' limit bounds them
TELL_S = 10.0
REASON_CHARS = 400
_PREDICTIONS = (b":predict", b"/infer")  # no other path that is answered ends so
_OF_A_BODY = (b"content-length", b"transfer-encoding")

logger = logging.getLogger("shipway.predict")


class Tally:
    """Counts what clients did wrong and tells it in one line now and then, so that nobody can fill the disk."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._told = 0.0

    def add(self, what: str) -> None:
        self.counts[what] += 1

    def tell(self, now: float) -> None:
        """Writes the counts since the last line, at most every `TELL_S`."""
        if self.counts and now - self._told >= TELL_S:
            logger.warning("clients: %s", ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items())))
            self.counts.clear()
            self._told = now


tally = Tally()  # one process serves one model


class Refused(Exception):
    """A request that is answered with `status` and not passed on.

    Attributes:
        status: Of the answer.
        headers: Beside its content's.
    """

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self, **more: str) -> bytes:
        """As it goes over the wire."""
        body = error_body(str(self))
        headers = {"content-type": "application/json", "content-length": str(len(body))} | self.headers | more
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return bytes(STATUS_LINE[self.status] + lines.encode() + b"\r\n" + body)


def error_body(reason: str) -> bytes:
    """An error as both protocols write it: one short line, which no terminal obeys, whatever it quotes."""
    line = " ".join(reason[: 2 * REASON_CHARS].split())[:REASON_CHARS]
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return json.dumps({"error": line}, separators=(",", ":")).encode()


@cache
def _busy(reason: str) -> bytes:
    return Refused(503, reason, retry_after="1").answer()


def connection_limit() -> int:
    """`MAX_CONNECTIONS`, or fewer where the process may not open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVE + 128
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, max(16, soft - RESERVE - 128))


class _Flow(FlowControl):  # type: ignore[misc]
    """Reads no further while a client has answers to read or requests that wait for their turn."""

    def __init__(self, transport: Any, connection: Connection) -> None:
        super().__init__(transport)
        self._connection = connection

    def pause_writing(self) -> None:
        super().pause_writing()
        self.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.resume_reading()

    def resume_reading(self) -> None:
        if not (self.write_paused or self._connection.pipeline or self._transport.is_closing()):
            super().resume_reading()


def _answered() -> RequestResponseCycle:
    """In place of the cycle of a request that was refused before it had one: its body is thrown away."""
    given: Any = None
    cycle = RequestResponseCycle(given, given, given, given, given, False, [], asyncio.Event(), False, True, given)
    cycle.response_complete = True
    return cycle


class Connection(HttpToolsProtocol):  # type: ignore[misc]
    """See the module's docstring. `check` is called about once a second."""

    limit = MAX_CONNECTIONS
    room = Room(1)  # the gate's, once there is one

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head_since: float | None = self.loop.time()
        self.body_since: float | None = None
        self.unread_since: float | None = None
        self._unread = 0
        self._head_bytes = 0
        self._discarded = 0
        self._has_begun = False  # a request, in the bytes that are being parsed
        self._refusal: Refused | None = None
        self._is_deaf = False  # what still comes in is thrown away

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        if len(self.connections) > self.limit:
            self._make_room()

    def _make_room(self) -> None:
        """Closes the connection that has been waiting longest for its client; where all are at work, this one."""
        waiting = [each for each in self.connections if each is not self and each.waits_for_client]
        if waiting:
            tally.add("connections closed for newer ones")
            min(waiting, key=lambda each: each.waiting_since).close()
        elif len(self.connections) > self.limit + RESERVE:
            self.refuse(Refused(503, "too many connections; try again later", retry_after="1"))

    @property
    def waits_for_client(self) -> bool:
        return self.cycle is None or self.cycle.response_complete or self.body_since is not None

    @property
    def waiting_since(self) -> float:
        """For the order only: an idle connection before one whose request is under way."""
        return self.body_since or self.head_since or 0.0

    def close(self) -> None:
        self._is_deaf = True
        self.transport.abort()

    def check(self, now: float) -> None:
        """Ends a connection whose client is too slow."""
        if self.transport is None or self.transport.is_closing():
            return
        unread = self.transport.get_write_buffer_size()
        if not unread or unread != self._unread:
            self.unread_since = now
        self._unread = unread
        if unread and self.unread_since is not None and now - self.unread_since > STALL_S:
            tally.add("clients that did not read their answer")
            self.close()
        elif self._refusal is not None or self._is_deaf:
            return
        elif self.head_since is not None and now - self.head_since > HEAD_S:
            if self._head_bytes or self._has_begun:
                self.refuse(Refused(408, f"the request's head was not complete within {HEAD_S:g} s"))
            else:
                self.transport.close()  # nothing was asked
        elif self.body_since is not None and now - self.body_since > BODY_S:
            if self.cycle.response_complete:
                self.close()
            else:
                self.refuse(Refused(408, f"the request's body was not complete within {BODY_S:g} s"))

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._is_deaf or self._refusal is not None:
            return
        if self.head_since is None and self.body_since is None:
            self.head_since = self.loop.time()
        self._has_begun = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # answered as if it had not been asked for, and closed: no other protocol
            self._is_deaf = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            reason = error.__context__
            refusal = reason if isinstance(reason, Refused) else Refused(400, "this is not a valid HTTP/1.1 request")
            self.refuse(refusal)
        else:
            if self.head_since is not None and not self._has_begun:
                self._count_head(len(data))

    def eof_received(self) -> bool:
        """Keeps the connection of a client that ended only its own side until it has its answers."""
        is_answered = self.cycle is None or self.cycle.response_complete
        if self._is_deaf or is_answered or self.body_since is not None:
            return False
        self.cycle.keep_alive = self._refusal is not None  # a refusal closes by itself
        return True

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self.refuse(Refused(431, f"the request's head is larger than {HEAD_BYTES} bytes"))

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_AHEAD:
            raise Refused(503, f"more than {MAX_AHEAD} requests ahead of their answers; wait for them", retry_after="1")
        super().on_message_begin()
        self.head_since = self.head_since or self.loop.time()
        self._head_bytes = 0
        self._has_begun = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > HEAD_BYTES // 4:
            raise Refused(414, f"the request's target is longer than {HEAD_BYTES // 4} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES:
            raise Refused(431, f"the request's head is larger than {HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise Refused(400, f"a request names its host once, this one {hosts} times")  # RFC 9112 3.2
        if self.parser.should_upgrade() and any(name in _OF_A_BODY for name, _ in self.headers):
            raise Refused(
                400, "no other protocol is spoken here: leave the Upgrade header out (the parser skips the body)"
            )
        self.head_since, self.body_since = None, self.loop.time()
        is_next = self.cycle is None or self.cycle.response_complete  # else it is refused in its turn, by the gate
        is_prediction = is_next and self.parser.get_method() == b"POST" and self.url.endswith(_PREDICTIONS)
        if is_prediction and self.room.refuses(self.body_since):
            self._turn_away()
            return
        super().on_headers_complete()
        if is_prediction:
            self.room.begin(self.loop)

    def _turn_away(self) -> None:
        """Refuses before there is a task, which would cost about what an answer does (docs/decisions/0130)."""
        size = next((int(value) for name, value in self.headers if name == b"content-length"), None)
        keeps = self.parser.should_keep_alive() and self.parser.get_http_version() == "1.1"
        if not keeps or size is None or size > SMALL_BODY or self.expect_100_continue or self.room.is_draining:
            raise Refused(503, self.room.reason, retry_after="1")
        tally.add("requests refused with 503")
        self.cycle = _answered()
        self.transport.write(_busy(self.room.reason))

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > DISCARD_BYTES:
                self.close()

    def on_message_complete(self) -> None:
        self.body_since = None
        self._discarded = 0
        super().on_message_complete()
        if self.cycle.response_complete:  # data took the timer back
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def refuse(self, refusal: Refused) -> None:
        """Answers once and closes, after the answers that are due before this one."""
        tally.add(f"requests refused with {refusal.status}")
        self._refusal = refusal
        unfinished = self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete
        if unfinished and self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
        elif unfinished:  # it is being read: this is its answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._say()
            return
        if not self.pipeline and (self.cycle is None or self.cycle.response_complete):
            self._say()

    def _say(self) -> None:
        """Writes the refusal and lets the client finish what it is sending: a reset would take the answer with it."""
        if self._is_deaf or self._refusal is None or self.transport.is_closing():
            return
        self._is_deaf = True
        self.transport.write(self._refusal.answer(connection="close"))
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None and self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self._say()
