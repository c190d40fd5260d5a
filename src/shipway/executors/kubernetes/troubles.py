"""Why jobs have no replicas yet: warnings of a namespace, asked for at most once a minute for all who wait in it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from shipway.executors.base import Handle
from shipway.executors.kubernetes.api import Api, ApiError, explain

ASK_S = 60.0
PAGE = "500"


@dataclass(frozen=True)
class Why:
    """A warning about a job: `exceeded quota`."""

    reason: str
    message: str


@dataclass
class _Warnings:
    """Those of one kind of job in one namespace."""

    asked_at: float = -ASK_S
    found: dict[str, Why] = field(default_factory=dict)  # by job
    lock: threading.Lock = field(default_factory=threading.Lock)


_known: dict[tuple[str, str, str], _Warnings] = {}
_known_lock = threading.Lock()


def of(api: Api, handle: Handle) -> Why | None:
    """The last warning about a job, as of the last minute; None: there was none."""
    with _known_lock:
        warnings = _known.setdefault((api.host, handle.namespace, handle.kind), _Warnings())
    with warnings.lock:
        if handle.name not in warnings.found and time.monotonic() - warnings.asked_at >= ASK_S:
            warnings.asked_at = time.monotonic()
            warnings.found = _ask(api, handle)
        return warnings.found.get(handle.name) or warnings.found.get("")


def _ask(api: Api, handle: Handle) -> dict[str, Why]:
    """The last warning of each job; under no name what keeps us from knowing."""
    selector = f"type=Warning,involvedObject.kind={handle.kind}"
    path = f"/api/v1/namespaces/{handle.namespace}/events"
    try:
        events = api.get(path, fieldSelector=selector, limit=PAGE)["items"]
    except ApiError as error:
        why = explain(error, "events", handle.namespace)
        return {"": Why("Unknown", f"why is not known: {why}")}
    events.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return {event["involvedObject"]["name"]: Why(event["reason"], event["message"]) for event in events}
