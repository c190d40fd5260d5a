"""One line per step while a run goes on: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shipway.cli.console import MARKS, console
from shipway.errors import one_line
from shipway.report.numbers import duration, number, percent

if TYPE_CHECKING:
    from rich.table import Table

    from shipway.artifacts import StepRecord

_SIGNS = {
    "Pending": "·",
    "Succeeded": "✓",
    "Cached": "✓",
    "Running": "●",
    "Failed": "✗",
    "Cancelled": "■",
    "Skipped": "–",
}
_SHARES = ("accuracy", "macro_f1", "coverage", "best_value")
Titles = dict[str, str]


class Progress:
    """Follows a run's events; used as a context manager around `Run.wait(on_event=progress)`."""

    def __init__(self, titles: Titles, detail: Callable[[str], str] | None = None) -> None:
        self.titles = titles
        self.steps: dict[str, StepRecord] = {}
        self.began: dict[str, float] = {}
        self._detail = detail or (lambda task: "")
        self._live: Any = None

    def __enter__(self) -> Progress:
        if console(stderr=True).is_terminal:
            from rich.live import Live

            self._live = Live(self, console=console(stderr=True), refresh_per_second=5, transient=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """One event of `Run.events`."""
        if event["kind"] != "step":
            return
        from shipway.artifacts import StepRecord

        step = StepRecord.model_validate(event["step"])
        self._place(step)
        for piece in step.pieces:
            known = self.steps.get(piece.task)
            if piece.state == "Skipped" or (piece is not step and known and known.state == piece.state):
                continue
            self.steps[piece.task] = piece
            self.began.setdefault(piece.task, time.monotonic())
            if self._live is None:
                console(stderr=True).print(self._plain(piece), markup=False)

    def _place(self, step: StepRecord) -> None:
        """A line for each part of a step in its place, and for a step that no task is known of."""
        lines = {piece.task: self.titles.get(piece.task) or piece.title or piece.task for piece in step.pieces}
        titles: Titles = {}
        for task, title in self.titles.items():
            titles |= lines if task == step.task else {task: title}
        self.titles = titles | lines

    def _plain(self, step: StepRecord) -> str:
        title = self.titles.get(step.task, step.task)
        if step.state == "Running":
            return f"{title} ..."
        words = [title, "from cache" if step.state == "Cached" else step.state.lower()]
        if step.state != "Cached":
            words.append(duration(step.seconds))
        return "  ".join([*words, highlights(step)]).rstrip()

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for task, title in self.titles.items():
            step = self.steps.get(task)
            if step is None:
                grid.add_row(Text("·", style="dim"), Text(title, style="dim"), "", "")
                continue
            running = step.state == "Running"
            seconds = time.monotonic() - self.began[task] if running else step.seconds
            note = self._detail(task) if running else highlights(step)
            grid.add_row(
                Text(_SIGNS[step.state], style=MARKS[step.state]),
                Text(title),
                Text("cached" if step.state == "Cached" else duration(seconds), style="dim"),
                Text(note, style="dim", overflow="ellipsis", no_wrap=True),
            )
        return grid


def highlights(step: StepRecord) -> str:
    """What a finished step found, in a few words."""
    if step.error is not None:
        return one_line(step.error.message)
    words = []
    for name, value in step.outputs.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        is_reference = isinstance(value, str) and (len(value) > 40 or "fingerprint" in name or "://" in value)
        if name in ("job", "objective", "uri") or (is_reference and name != "url"):
            continue
        shown = percent(value) if name in _SHARES and isinstance(value, float) else number(value)
        words.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(words[:4])
