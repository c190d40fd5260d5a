"""A job's folder: the only thing that followers and the supervisor share.

    manifest.json  plan.json (0600)   what is played
    state.json                        replaced atomically by the supervisor
    events.jsonl                      appended
    followers.lock                    every follower holds it shared; the supervisor that gets it alone is an orphan
    supervisor.lock                   the supervisor holds it as long as it lives
    control.json                      what a follower asks for: cancel, suspend, resume
    replicas/<name>/                  0700: work/, <restart>.log, <restart>.progress.jsonl

The kernel releases a lock however its holder died, so nobody needs a process id to know who lives.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shipway import deaths, locks, private
from shipway.errors import ShipwayError, UserError
from shipway.executors.base import Event

FINAL = ("Succeeded", "Failed", "Cancelled")


@dataclass(frozen=True)
class JobFolder:
    """Paths, and reads and writes that hold at any moment of a crash."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def replica(self, name: str) -> Path:
        """The private folder of one replica."""
        return self.path / "replicas" / name

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON document of the folder, None where it is absent."""
        try:
            document = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return document if isinstance(document, dict) else None

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Replaces a JSON document atomically."""
        self.write_text(name, json.dumps(document, indent=1))

    def write_text(self, name: str, text: str) -> None:
        """Replaces a file atomically; 0600, since environments hold what is nobody else's business."""
        private.write_text(self.path / name, text)

    def changed(self, name: str) -> int:
        """Tells versions of a file apart: 0 where it is absent, another number after each atomic replacement."""
        try:
            status = (self.path / name).stat()
        except FileNotFoundError:
            return 0
        return hash((status.st_mtime_ns, status.st_ino, status.st_size)) or 1

    def state(self) -> dict[str, Any]:
        """The supervisor's last word; empty before its first."""
        return self.read("state.json") or {}

    def tell(self, kind: str, message: str, **data: Any) -> None:
        """Appends an event: one write, so that lines of two writers never mix."""
        event = Event(at=time.time(), kind=kind, message=message, data=data)
        line = json.dumps(asdict(event), ensure_ascii=False) + "\n"
        descriptor = os.open(self.path / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def events(self, offset: int) -> tuple[list[Event], int]:
        """Whole events from a byte offset on, and the offset behind them."""
        lines, offset = read_lines(self.path / "events.jsonl", offset)
        return [Event(**json.loads(line)) for line in lines], offset

    def is_supervised(self) -> bool:
        """Whether the supervisor lives."""
        return locks.is_held(self.path / "supervisor.lock")

    def lease(self) -> int:
        """Holds `followers.lock` shared; the job lives while somebody does. Close the descriptor to let go.

        Raises:
            FileNotFoundError: the folder is gone.
        """
        return locks.take(self.path / "followers.lock", shared=True)


@contextmanager
def disk_errors(job: str, folder: Path) -> Iterator[None]:
    """Says in one line what the disk refuses, instead of a traceback.

    Raises:
        ShipwayError: no space, or no right to write, below the folder of local state.
    """
    try:
        yield
    except OSError as error:
        if error.errno in deaths.FULL:
            raise ShipwayError(f"job {job}: {deaths.no_space(folder)}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            where = error.filename or folder
            raise UserError(
                f"{where}: {error.strerror}", field=f"job {job}", fix="set SHIPWAY_HOME to a folder of yours"
            ) from error
        raise


def read_lines(path: Path, offset: int, limit: int = 1 << 20) -> tuple[list[str], int]:
    """Whole lines from a byte offset on, at most `limit` bytes of them; a line that is still being written waits."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(limit)
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) == limit:
        end = limit  # a line longer than the limit is passed on in pieces
    return split_lines(data[:end]), offset + end


def last_lines(path: Path, count: int = 20, limit: int = 64 << 10) -> list[str]:
    """The last lines of a log file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            return split_lines(file.read())[-count:]
    except FileNotFoundError:
        return []


def split_lines(data: bytes) -> list[str]:
    """Lines by line feed alone: `splitlines` would also cut at characters that JSON strings may hold. Of a progress bar
    that overwrites its line, the last state."""
    lines = data.decode(errors="replace").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines]
