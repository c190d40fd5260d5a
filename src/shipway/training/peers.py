"""Another worker that went away, as TensorFlow and Horovod report it. Imports TensorFlow."""

from __future__ import annotations

import re

import tensorflow as tf

from shipway.errors import RetryableError

_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
)
# How TensorFlow names the replica that a call went to.
_TARGET = re.compile(r"remote target /job:(\w+)/replica:\d+/task:(\d+)")
_PLACE = re.compile(r"Graph execution error:|Detected at node|<stack traces|File \"|\d+ root error")


class LostPeer(RetryableError):
    """Another worker of this job went away in the middle of a step."""


def lost_peer(error: BaseException, workers: int) -> LostPeer | None:
    """The error as a lost peer's; None for what is none.

    Args:
        error: What a step raised.
        workers: Of the job: only where there are several can an internal error be another's end.
    """
    is_gone = isinstance(error, _GONE) or (
        workers > 1 and isinstance(error, tf.errors.OpError) and _is_collective(error)
    )
    if not is_gone:
        return None
    target = _TARGET.search(str(error))
    who = f"{target[1]}-{target[2]}" if target else "another worker"
    return LostPeer(f"{who} went away: {_first_line(error)}")


def _is_collective(error: BaseException) -> bool:
    """Horovod and some collectives report a lost peer as an internal or unknown error."""
    text = str(error).lower()
    return any(word in text for word in ("horovod", "collective", "socket closed", "connection reset", "heartbeat"))


def _first_line(error: BaseException) -> str:
    """What happened, behind the places in the graph that TensorFlow names first."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not _PLACE.match(line)), type(error).__name__)[:300]
