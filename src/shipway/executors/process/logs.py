"""The lines of all replicas of a job: of every start, while it runs and after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from shipway.executors.base import LogLine
from shipway.executors.process.folder import FINAL, JobFolder, split_lines

POLL_S = 0.1
PIECE = 1 << 18


class _Log:
    """One log file, read as it grows; a line is given when it is whole, or when the file is known to have ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replica, self.restart = path.parent.name, int(path.stem)
        self.offset = 0
        self.rest = b""

    def new(self, *, is_last: bool) -> Iterator[LogLine]:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            while piece := file.read(PIECE):
                self.offset += len(piece)
                whole, newline, self.rest = (self.rest + piece).rpartition(b"\n")
                yield from self._lines(whole + newline)
        if is_last and self.rest:
            rest, self.rest = self.rest, b""
            yield from self._lines(rest)

    def _lines(self, data: bytes) -> Iterator[LogLine]:
        return (LogLine(self.replica, line, self.restart) for line in split_lines(data))


def read_logs(folder: JobFolder, replica: str | None, follow: bool) -> Iterator[LogLine]:
    """Lines of every replica, or of one.

    Args:
        folder: The job's.
        replica: `worker-1`, or None for all.
        follow: Go on until the job has ended; lines then come in the order in which they are seen.
    """
    logs: dict[Path, _Log] = {}
    while True:
        has_ended = not follow or folder.state().get("state") in FINAL or not folder.is_supervised()
        for path in sorted(folder.path.glob("replicas/*/*.log"), key=_order):
            if replica in (None, path.parent.name):
                yield from logs.setdefault(path, _Log(path)).new(is_last=has_ended)
        if has_ended:
            return
        time.sleep(POLL_S)


def _order(path: Path) -> tuple[str, int, int]:
    role, _, index = path.parent.name.rpartition("-")
    return role, int(index) if index.isdigit() else 0, int(path.stem) if path.stem.isdigit() else 0
