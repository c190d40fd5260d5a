"""What a sweep leaves for TensorBoard: a folder for each trial, with its reports and its parameters."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from shipway.artifacts import TrialRecord
from shipway.components.sweep.ledger import Request, Status
from shipway.errors import ShipwayError
from shipway.storage import Store
from shipway.training import events

FOLDER = "tensorboard"
EVERY_S = 10.0  # at most, of a trial that goes on


@dataclass
class _Board:
    began: float
    seen: list[float] = field(default_factory=list)  # when each report was seen
    written: float = 0.0


class TrialBoards:
    """Writes `tensorboard/trial-0003/events...` below a sweep's folder, each file whole: a trial that is made again
    leaves no step twice.

    Args:
        store: Rooted at the sweep's folder.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._boards: dict[tuple[int, int], _Board] = {}  # by trial and attempt

    def report(self, request: Request, status: Status) -> None:
        """A trial has reported; it is written now and then."""
        board = self._board(request, status)
        if time.monotonic() - board.written >= EVERY_S:
            self._write(request, status, board, end=b"")

    def finish(self, request: Request, status: Status, record: TrialRecord) -> None:
        """A trial has ended, or paused: its next attempt writes all of it anew."""
        board = self._board(request, status)
        end = events.ended(has_succeeded=record.state in ("Succeeded", "EarlyStopped"))
        self._write(request, status, board, end=b"" if record.state == "Paused" else end)
        del self._boards[request.number, request.attempt]

    def _board(self, request: Request, status: Status) -> _Board:
        now = time.time()
        board = self._boards.setdefault((request.number, request.attempt), _Board(now - status.seconds))
        board.seen += [now] * (len(status.reports) - len(board.seen))
        return board

    def _write(self, request: Request, status: Status, board: _Board, end: bytes) -> None:
        name = f"trial-{request.number:04}"
        data = events.head(board.began) + events.parameters(request.params, name, board.began)
        reports = list(zip(status.reports, board.seen, strict=False))
        if not reports and status.metrics:  # what a function returned that reported nothing
            reports = [((1, status.metrics), time.time())]
        for (step, metrics), at in reports:
            data += events.scalars(step, {key: value for key, value in metrics.items() if value is not None}, at)
        board.written = time.monotonic()
        try:
            self._store.put(f"{FOLDER}/{name}/{events.NAME}", data + end)
        except ShipwayError as error:  # the sweep itself lacks nothing
            print(
                f"shipway: TensorBoard file of trial {request.number} not written: {error}", file=sys.stderr, flush=True
            )
