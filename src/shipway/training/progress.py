"""What a training says about itself: progress records, lines for Katib's collector, TensorBoard files."""

from __future__ import annotations

import atexit
import collections
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shipway.errors import ShipwayError
from shipway.storage import open_folder
from shipway.training import events
from shipway.training.usage import Usage

PROGRESS = "SHIPWAY_PROGRESS"
AUDIT = "SHIPWAY_AUDIT"
LEASE_KEY = "lease.json"
# A lease's length is the time in which a job whose step is gone must hold nothing any more: the rest of it is for
# noticing, for the checkpoint and for the operator. Renewed four times in its length, it outlives three failures.
LAPSED = 0.85
LOOKS = 24  # in a lease's length; each reads one small object
LINES_KEPT = 200
WRITE_EVERY_S = 2.0

Report = Callable[[int, dict[str, float]], bool]  # (step, metrics) -> go on? It may raise `Pause`


class Pause(Exception):
    """Raised by a report: the training saves a checkpoint and ends, for another process to go on from it."""


def audited() -> bool:
    """Whether each step is recorded, with a hash of the batch that the model was given."""
    return os.environ.get(AUDIT, "") not in ("", "0")


class ProgressFile:
    """Appends JSON lines to what the executor named and follows; nothing where it named none.

    That is a file, or where replicas share no disk with who waits, an object: it cannot be appended to, so it holds
    the newest lines, each with its number, and is written again every other second.
    """

    def __init__(self) -> None:
        target = os.environ.get(PROGRESS, "")
        is_object = "://" in target
        self._file = open(target, "a", encoding="utf-8", buffering=1) if target and not is_object else None  # noqa: SIM115 - open to the end
        self._object = ProgressObject(target) if is_object else None

    def write(self, **record: Any) -> None:
        """One line, at once on disk: a worker may be killed after it."""
        record = {"at": round(time.time(), 3), **record}
        if self._file is not None:
            self._file.write(json.dumps(record, allow_nan=False) + "\n")
        if self._object is not None:
            self._object.add(record)

    def close(self) -> None:
        """Writes what is still to be written, for a process that ends without Python's own end."""
        if self._object is not None:
            self._object.write()


class ProgressObject:
    """The newest lines of progress, kept in an object by a thread of its own."""

    def __init__(self, uri: str) -> None:
        self._folder, _, self._key = uri.rpartition("/")
        self._lines: collections.deque[str] = collections.deque(maxlen=LINES_KEPT)
        self._number = 0
        self._lock = threading.Lock()
        self._is_new = threading.Event()
        threading.Thread(target=self._keep, daemon=True).start()
        atexit.register(self.write)

    def add(self, record: dict[str, Any]) -> None:
        """A line more."""
        with self._lock:
            self._lines.append(json.dumps({**record, "line": self._number}, allow_nan=False))
            self._number += 1
        self._is_new.set()

    def _keep(self) -> None:
        while True:
            self._is_new.wait()
            self.write()
            time.sleep(WRITE_EVERY_S)

    def write(self) -> None:
        """Writes the lines, where some are new."""
        if not self._is_new.is_set():
            return
        self._is_new.clear()
        with self._lock:
            text = "\n".join(self._lines)
        try:
            open_folder(self._folder).put(self._key, text.encode())
        except ShipwayError as error:
            print(f"shipway: progress not written: {error}", file=sys.stderr, flush=True)


def print_metrics(step: int | None, metrics: Mapping[str, float]) -> None:
    """Lines as Katib's StdOut collector reads them: a timestamp, which early stopping needs, then `name=value`."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for name, value in {**({} if step is None else {"step": step}), **metrics}.items():
        if math.isfinite(value):  # `nan` does not parse there
            print(f"{now} {name}={value:.8g}", flush=True)


class TensorBoardLog:
    """The scalars of a training as one object for TensorBoard, `tensorboard/events.out.tfevents...` of its job.

    It is written whole at every interval, small as it is. One who goes on from a checkpoint first cuts off what was
    written of steps behind it, so that no step stands there twice; the bytes before them stay as they are.
    """

    def __init__(self, output_uri: str) -> None:
        self._output_uri = output_uri
        self._key = f"tensorboard/{events.NAME}"
        self._written: bytes | None = None  # None: not known yet
        self._new: list[tuple[int, bytes]] = []

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds scalars; a store that fails here must not end a training, and gets them with the next ones."""
        self._new.append((step, events.scalars(step, metrics)))
        try:
            store = open_folder(self._output_uri)
            if self._written is None:
                before = store.get(self._key) if store.head(self._key) is not None else b""
                self._written = events.before(before, self._new[0][0]) or events.head()
            data = self._written + b"".join(record for _, record in self._new)
            store.put(self._key, data)
        except ShipwayError as error:
            print(f"shipway: TensorBoard log not uploaded: {error}", file=sys.stderr, flush=True)
        else:
            self._written, self._new = data, []


class LeaseWatch:
    """Reads the launcher's lease while a job trains; `lapsed` says that nobody renews it any more."""

    def __init__(self, output_uri: str, lease_s: float) -> None:
        self.lapsed = threading.Event()
        self._stop = threading.Event()
        self._store = open_folder(output_uri)
        self._lease_s = lease_s
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        seen: bytes | None = None
        since = time.monotonic()
        while not self._stop.wait(self._lease_s / LOOKS):
            try:
                lease = self._store.get_versioned(LEASE_KEY)
            except ShipwayError:
                continue  # a store that is away says nothing about the launcher
            if lease is None or lease[0] != seen:
                seen, since = lease[0] if lease else None, time.monotonic()
                if lease is None:
                    continue  # no launcher ever held a lease: a worker started by hand
            # Judged by this clock alone: the document changes at every renewal, and clocks of two machines differ.
            elif time.monotonic() - since > LAPSED * self._lease_s:
                self.lapsed.set()
                return

    def close(self) -> None:
        """Ends the watch."""
        self._stop.set()


class StallWatch:
    """Ends this process with a retryable code when no step was reported for too long: a peer hangs, or is gone."""

    def __init__(self, limit_s: float, exit_code: int) -> None:
        self._limit_s, self._exit_code = limit_s, exit_code
        self._last = time.monotonic()
        self._stop = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def alive(self) -> None:
        """A step was taken."""
        self._last = time.monotonic()

    def close(self) -> None:
        """Ends the watch."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(min(self._limit_s / 4, 5.0)):
            if time.monotonic() - self._last > self._limit_s:
                message = f"error: no training step for {self._limit_s:g} s; ending to be started again"
                print(message, file=sys.stderr, flush=True)
                os._exit(self._exit_code)


@dataclass
class Monitor:
    """Whom a training tells, and who watches over it; all optional."""

    progress: ProgressFile | None = None
    tensorboard: TensorBoardLog | None = None
    lease: LeaseWatch | None = None
    stall: StallWatch | None = None
    metric_lines: Callable[[int, dict[str, float]], None] | None = None  # print_metrics, on the chief
    usage: Usage | None = None
    audit: bool = field(default_factory=audited)

    def close(self) -> None:
        """The training is over: what follows is no step that could stall, and none of its work."""
        if self.stall is not None:
            self.stall.close()
        if self.usage is not None:
            self.usage.close()
