"""One watch for all who wait: changes of a namespace's jobs and pods, handed to whom they concern.

However many jobs a process follows, each kind costs one open watch, and a list when it begins, or when the server no
longer knows where it stood (410), then at most once a minute.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shipway import labels
from shipway.errors import ShipwayError
from shipway.executors.kubernetes.api import Api, ApiError
from shipway.executors.kubernetes.kinds import PODS, Kind
from shipway.executors.kubernetes.rendering import JOB
from shipway.patience import Patience

SELECTOR = f"{labels.MANAGED_BY}=shipway"
LISTS_APART_S = 60.0
WATCH_S = 300
LINGER_S = 20.0  # without anybody who waits: the next job often follows at once
PAGE = "500"
PATIENCE = Patience(first_s=0.2, cap_s=10.0)


@dataclass(frozen=True)
class Change:
    """A job's object, or one of its pods, as it is now.

    Attributes:
        kind: `Pod`, or the job's kind.
        gone: It was deleted; `object` is its last state.
    """

    kind: str
    object: Mapping[str, Any]
    gone: bool = False


@dataclass(frozen=True)
class Trouble:
    """The watch cannot be kept; waiting goes on. Told once a try."""

    message: str
    since: float  # by the monotonic clock
    refused: ApiError | None = None  # it will not mend itself: a permission that is missing


@dataclass(frozen=True)
class Listed:
    """All that is there now has been told."""

    kind: str


Changes = queue.SimpleQueue[Change | Trouble | Listed]


class Feed:
    """The watch of one kind in one namespace."""

    def __init__(self, api: Api, kind: Kind, namespace: str) -> None:
        self.api, self.kind, self.namespace = api, kind, namespace
        self._objects: dict[str, dict[str, Any]] = {}  # by name, what a follower needs of it
        self._waiting: dict[str, list[Changes]] = {}  # by job
        self._lock = threading.RLock()
        self._is_listed = False
        self._listed_at = -LISTS_APART_S
        self._version = ""
        self._idle_since = time.monotonic()
        self._thread: threading.Thread | None = None

    def join(self, job: str, changes: Changes) -> None:
        """From now on `changes` is told of this job; first what is there."""
        with self._lock:
            self._waiting.setdefault(job, []).append(changes)
            for item in self._objects.values():
                if self._job(item) == job:
                    changes.put(Change(self.kind.name, item))
            if self._is_listed:
                changes.put(Listed(self.kind.name))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name=f"watch-{self.kind.plural}")
                self._thread.start()

    def leave(self, job: str, changes: Changes) -> None:
        """Ends `join`."""
        with self._lock:
            self._waiting[job].remove(changes)
            if not self._waiting[job]:
                del self._waiting[job]
            self._idle_since = time.monotonic()

    # -- private ---------------------------------------------------------------------------------------------------

    def _job(self, item: Mapping[str, Any]) -> str:
        return str((item["metadata"].get("labels") or {}).get(JOB, item["metadata"]["name"]))

    def _run(self) -> None:
        tries, trouble_since = PATIENCE.tries(), 0.0
        while not self._has_ended():
            try:
                if not self._version:
                    self._list()
                for change in self._watch():
                    self._take(change)
                    tries, trouble_since = PATIENCE.tries(), 0.0
                    if self._is_idle():
                        break
            except Exception as error:  # noqa: BLE001 - whatever it is, all who wait depend on this thread
                if isinstance(error, ApiError) and error.status == 410:
                    self._version = ""
                    continue
                if not isinstance(error, ShipwayError):
                    self._version = ""
                trouble_since = trouble_since or time.monotonic()
                refused = error if isinstance(error, ApiError) and error.status == 403 else None
                self._tell_all(Trouble(str(error) or repr(error), trouble_since, refused))
                tries.again()

    def _is_idle(self) -> bool:
        return not self._waiting and time.monotonic() - self._idle_since > LINGER_S

    def _has_ended(self) -> bool:
        with self._lock:
            if not self._is_idle():
                return False
            self._thread, self._version, self._is_listed = None, "", False
            self._objects.clear()
            return True

    def _list(self) -> None:
        time.sleep(max(0.0, self._listed_at + LISTS_APART_S - time.monotonic()))
        listed: dict[str, dict[str, Any]] = {}
        query = {"labelSelector": SELECTOR, "limit": PAGE}
        while True:
            page = self.api.get(self.kind.path(self.namespace), **query)
            listed |= {item["metadata"]["name"]: slim(item) for item in page["items"]}
            if not page["metadata"].get("continue"):
                break
            query["continue"] = page["metadata"]["continue"]
        with self._lock:
            self._listed_at = time.monotonic()
            self._version = page["metadata"]["resourceVersion"]
            for name, before in list(self._objects.items()):
                if name not in listed or listed[name]["metadata"]["uid"] != before["metadata"]["uid"]:
                    self._tell(Change(self.kind.name, self._objects.pop(name), gone=True))
            for name, now in listed.items():
                if self._objects.get(name) != now:
                    self._objects[name] = now
                    self._tell(Change(self.kind.name, now))
            self._is_listed = True
            self._tell_all(Listed(self.kind.name))

    def _watch(self) -> Iterator[Mapping[str, Any]]:
        query = {"labelSelector": SELECTOR, "resourceVersion": self._version, "allowWatchBookmarks": "true"}
        return self.api.watch(self.kind.path(self.namespace), {**query, "timeoutSeconds": str(WATCH_S)})

    def _take(self, change: Mapping[str, Any]) -> None:
        item = change["object"]
        with self._lock:
            self._version = item["metadata"]["resourceVersion"]
            if change["type"] == "BOOKMARK":
                return
            kept = slim(item)
            if change["type"] == "DELETED":
                self._objects.pop(kept["metadata"]["name"], None)
            else:
                self._objects[kept["metadata"]["name"]] = kept
            self._tell(Change(self.kind.name, kept, gone=change["type"] == "DELETED"))

    def _tell(self, change: Change) -> None:
        for changes in self._waiting.get(self._job(change.object), ()):
            changes.put(change)

    def _tell_all(self, what: Trouble | Listed) -> None:
        with self._lock:
            for waiting in self._waiting.values():
                for changes in waiting:
                    changes.put(what)


_feeds: dict[tuple[str, str, str, str], Feed] = {}
_feeds_lock = threading.Lock()


@contextmanager
def changes_of(api: Api, kind: Kind, namespace: str, job: str) -> Iterator[Changes]:
    """A queue of what happens to a job and to its pods, begun with what is there."""
    told: Changes = queue.SimpleQueue()
    feeds = [_feed(api, each, namespace) for each in (PODS, kind)]  # pods first: a failed job's are known by then
    for feed in feeds:
        feed.join(job, told)
    try:
        yield told
    finally:
        for feed in feeds:
            feed.leave(job, told)


def _feed(api: Api, kind: Kind, namespace: str) -> Feed:
    key = (api.host, namespace, kind.api_version, kind.plural)
    with _feeds_lock:
        if key not in _feeds:
            _feeds[key] = Feed(api, kind, namespace)
        return _feeds[key]


def slim(item: Mapping[str, Any]) -> dict[str, Any]:
    """What a follower reads of an object: a thousand jobs' manifests are not kept."""
    metadata = item["metadata"]
    fields = ("name", "namespace", "uid", "labels", "annotations", "creationTimestamp", "deletionTimestamp",
              "generation")  # fmt: skip
    kept = {key: metadata[key] for key in fields if key in metadata}
    annotations = {
        key: value for key, value in (kept.get("annotations") or {}).items() if key.startswith(labels.PREFIX)
    }
    spec = item.get("spec") or {}
    policy = {key: spec[key] for key in ("runPolicy", "nodeName") if key in spec}
    deadline = {"activeDeadlineSeconds": spec["activeDeadlineSeconds"]} if "activeDeadlineSeconds" in spec else {}
    containers = {"containers": [{"name": each["name"]} for each in spec.get("containers", [])]}
    return {
        "metadata": {**kept, "annotations": annotations},
        "spec": {**policy, **deadline, **(containers if "containers" in spec else {})},
        "status": item.get("status") or {},
    }
