"""What a running step is at: how far it says it is, or the last line of its log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from shipway.artifacts import StepProgress, StepRecord
from shipway.local.folder import RunFolder

TAIL_BYTES = 16 << 10
_NOISE = ("[KFP ", "{", "}", '"')  # kfp's own lines in every step's log


class StepsAtWork:
    """How far the running steps of a run on this machine are, as they wrote it into the run's folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, StepProgress]] = {}  # step -> when its file was written, and what it says

    def changes(self, steps: Iterable[StepRecord]) -> Iterator[tuple[str, StepProgress]]:
        """Name and progress of each running step that has said something since the last look."""
        for step in steps:
            if step.state != "Running":
                continue
            path = self._folder.progress_file(step.name)
            try:
                written = path.stat().st_mtime_ns
                if self._known.get(step.name, (0,))[0] == written:
                    continue
                progress = StepProgress.model_validate_json(path.read_bytes())
            except (OSError, ValueError):  # it has said nothing yet
                continue
            self._known[step.name] = written, progress
            yield step.name, progress

    def completed(self, step: StepRecord) -> StepRecord:
        """The step's record with its progress, while it runs."""
        if step.state != "Running" or step.name not in self._known:
            return step
        return step.model_copy(update={"progress": self._known[step.name][1]})

    def text(self, step: StepRecord) -> str:
        """A few words of a running step."""
        for _ in self.changes([step]):
            pass
        known = self.completed(step).progress
        return known.text if known is not None else last_line(self._folder.task_log(step.name))


def last_line(log: Path) -> str:
    """The last line that a step printed itself; empty where it has printed none."""
    return next((line for line in reversed(_tail(log)) if line and not line.startswith(_NOISE)), "")


def _tail(path: Path) -> list[str]:
    """The last lines of a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, 2) - TAIL_BYTES, 0))
            return [line.strip() for line in file.read().decode("utf-8", errors="replace").splitlines()]
    except OSError:
        return []
