"""Another worker that went away, as TensorFlow and Horovod report it. Imports TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from shipway.errors import RetryableError

_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
)


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
    return LostPeer(f"another worker went away: {_first_line(error)}") if is_gone else None


def _is_collective(error: BaseException) -> bool:
    """Horovod and some collectives report a lost peer as an internal or unknown error."""
    text = str(error).lower()
    return any(word in text for word in ("horovod", "collective", "socket closed", "connection reset", "heartbeat"))


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
