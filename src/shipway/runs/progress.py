"""One line per step while a run goes on: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shipway.errors import one_line
from shipway.pages.numbers import duration, figure, inline, number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from shipway.artifacts import StepRecord

MARKS = {
    "Succeeded": "green",
    "Cached": "cyan",
    "Pending": "dim",
    "Running": "yellow",
    "Failed": "red",
    "Cancelled": "magenta",
    "Skipped": "dim",
}
SIGNS = {
    "Pending": "·",
    "Succeeded": "✓",
    "Cached": "✓",
    "Running": "●",
    "Failed": "✗",
    "Cancelled": "■",
    "Skipped": "–",
}
LINE_S = 10.0  # between two lines of a step, where nothing can be drawn anew
Titles = dict[str, str]


class Progress:
    """Follows a run's events; used as a context manager around `Run.wait(on_event=progress)`."""

    def __init__(self, titles: Titles, detail: Callable[[str], str] | None = None) -> None:
        self.titles = titles
        self.steps: dict[str, StepRecord] = {}
        self.began: dict[str, float] = {}
        self._said: dict[str, float] = {}  # step -> when a line was printed of it
        self._detail = detail or (lambda step: "")
        self._live: Any = None
        self._console = _console()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(self, console=self._console, refresh_per_second=5, transient=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """One event of `Run.events`."""
        if event["kind"] == "tasks":
            self.titles |= event["titles"]
        if event["kind"] == "progress":
            self._progress(event["step"], event["progress"])
        if event["kind"] != "step":
            return
        from shipway.artifacts import StepRecord

        step = StepRecord.model_validate(event["step"])
        self._place(step)
        for piece in step.pieces:
            known = self.steps.get(piece.name)
            if piece.state == "Skipped" or (piece is not step and known and known.state == piece.state):
                continue
            self.steps[piece.name] = piece
            self.began.setdefault(piece.name, time.monotonic())
            if self._live is None:
                self._console.print(self._plain(piece), markup=False)

    def _progress(self, name: str, told: dict[str, Any]) -> None:
        """A line now and then, where no line is drawn anew."""
        from shipway.artifacts import StepProgress

        now = time.monotonic()
        since = now - self.began.get(name, now)
        if self._live is not None or now - self._said.get(name, self.began.get(name, now)) < max(LINE_S, since / 20):
            return
        self._said[name] = now
        progress = StepProgress.model_validate(told)
        self._console.print(f"{self.titles.get(name, name)}  {progress.text}", markup=False)

    def _place(self, step: StepRecord) -> None:
        """A line for each iteration of a task and each part of a step in its place, and for a step of no known task."""
        whole = (step.name, step.task)
        lines = {
            row: title for row, title in self.titles.items() if row.startswith(f"{step.task}.") and row not in whole
        }
        lines |= {piece.name: self.titles.get(piece.name) or piece.label for piece in step.pieces}
        titles: Titles = {}
        for row, title in self.titles.items():
            titles |= lines if row in whole or row in lines else {row: title}
        self.titles = titles | lines

    def _plain(self, step: StepRecord) -> str:
        title = self.titles.get(step.name, step.name)
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
        for name, title in self.titles.items():
            step = self.steps.get(name)
            if step is None:
                grid.add_row(Text("·", style="dim"), Text(title, style="dim"), "", "")
                continue
            running = step.state == "Running"
            seconds = time.monotonic() - self.began[name] if running else step.seconds
            note = self._detail(name) if running else highlights(step)
            grid.add_row(
                Text(SIGNS[step.state], style=MARKS[step.state]),
                Text(title),
                Text("cached" if step.state == "Cached" else duration(seconds), style="dim"),
                Text(note, style="dim", overflow="ellipsis", no_wrap=True),
            )
        return grid


def _console() -> Console:
    from rich.console import Console

    is_terminal = sys.stderr.isatty()
    width = None if is_terminal else max(160, shutil.get_terminal_size().columns)
    return Console(stderr=True, width=width, highlight=False, soft_wrap=not is_terminal)


def highlights(step: StepRecord) -> str:
    """What a finished step found, in a few words."""
    if step.error is not None:
        return one_line(step.error.message)
    words = _measured(step.outputs)
    for name, value in step.outputs.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        is_reference = isinstance(value, str) and (len(value) > 40 or "fingerprint" in name or "://" in value)
        if name in ("job", "objective", "uri") or (is_reference and name != "url"):
            continue
        # A function of one's own may call 93.4 an accuracy.
        is_share = isinstance(value, float) and abs(value) <= 1 and _is_share(name, step.outputs)
        shown = figure(value, is_share) if isinstance(value, float) else number(value)
        words.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(words[:4])


def _measured(outputs: Mapping[str, Any]) -> list[str]:
    """The metric that models are compared by, of a step that measured one."""
    return [
        f"{inline(info['title'])} {figure(outputs['metrics'].get(info['name']), info['is_share'])}"
        for info in outputs.get("shown", [])[:1]
    ]


def _is_share(name: str, outputs: Mapping[str, Any]) -> bool:
    from shipway.tasks import is_share

    metric = str(outputs.get("objective", "")).removeprefix("val_") if name == "best_value" else name
    return is_share(metric)
