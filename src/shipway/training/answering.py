"""Whether the TensorFlow server of another replica is there, asked without TensorFlow."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from shipway.errors import RetryableError

# RFC 9113, 3.4: what a client of HTTP/2 says first; a server's own first frame answers it.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEADER = 9
ANSWER_S = 5.0
LOOK_S = 0.5
GONE_AFTER = 3  # refusals in a row: a name that does not resolve for a moment is no end

Answer = Literal["here", "silent", "refused"]
Verdict = Literal["stay", "gone", "stalled"]


def ask(address: str, timeout_s: float = ANSWER_S) -> Answer:
    """How a gRPC server answers at `host:port`.

    Returns:
        `silent` where the port is open and nobody speaks: a frozen process keeps its port.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(_GREETING)
            return "here" if len(connection.recv(_FRAME_HEADER)) > 0 else "refused"
    except TimeoutError:
        return "silent"
    except OSError:
        return "refused"


def wait_for(addresses: Mapping[str, str], within_s: float, asked: Callable[[str], Answer] = ask) -> None:
    """Returns when all of them answer.

    Args:
        addresses: Replica -> `host:port`.
        within_s: How long to wait for the last.
        asked: How one is asked.

    Raises:
        RetryableError: names those that did not.
    """
    deadline = time.monotonic() + within_s
    missing = dict(addresses)
    while missing := {name: address for name, address in missing.items() if asked(address) != "here"}:
        if time.monotonic() > deadline:
            names = ", ".join(f"{name} ({address})" for name, address in missing.items())
            raise RetryableError(f"{names} did not answer within {within_s:g} s; ending to be started again")
        time.sleep(LOOK_S)


class Watch:
    """Judges one replica by its answers.

    Args:
        limit_s: How long it may be silent, or not yet be there.
        now: A monotonic clock.
    """

    def __init__(self, limit_s: float, now: float) -> None:
        self._limit_s, self._heard_at = limit_s, now
        self._is_known, self._refusals = False, 0

    def judge(self, answer: Answer, now: float) -> Verdict:
        """What an answer means: `gone` is for a replica that was there."""
        if answer == "here":
            self._is_known, self._refusals, self._heard_at = True, 0, now
            return "stay"
        self._refusals = self._refusals + 1 if answer == "refused" else 0
        if self._is_known and self._refusals >= GONE_AFTER:
            return "gone"
        return "stalled" if now - self._heard_at > self._limit_s else "stay"


def named(cluster: Mapping[str, Sequence[str]], roles: Sequence[str]) -> dict[str, str]:
    """`worker-0` -> its address, of those roles."""
    return {f"{role}-{index}": address for role in roles for index, address in enumerate(cluster.get(role, []))}
