"""One line per step while a run goes on: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipway.cli.console import MARKS, console, say
from shipway.report.numbers import duration, number, percent

if TYPE_CHECKING:
    from rich.table import Table

    from shipway.artifacts import StepRecord

_SIGNS = {"Succeeded": "✓", "Cached": "✓", "Running": "●", "Failed": "✗", "Cancelled": "■", "Skipped": "–"}
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
        self.steps[step.task] = step
        self.began.setdefault(step.task, time.monotonic())
        if self._live is None:
            console(stderr=True).print(self._plain(step), markup=False)

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
        return " ".join(step.error.message.split())
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


def job_detail(home: Path, run: str) -> Callable[[str], str]:
    """What the newest progress line of the run's jobs says: step, rate, time left; else the step's last log line."""
    began = time.time()

    def detail(task: str) -> str:
        lines = sorted((home / "jobs").glob("*/progress/*.jsonl"), key=_modified)
        if task in ("job", "katib", "train", "sweep", "tfjob", "mpijob") and lines and _modified(lines[-1]) >= began:
            told = _last_json(lines[-1])
            if told:
                return _told(told)
        return _last_line(home / "runs" / run / f"{task}.log")

    return detail


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _told(line: dict[str, Any]) -> str:
    """`step 120 of 800, 1,020 examples/s, 12 s left, accuracy 91.0 %`, as far as the worker said it."""
    words = []
    if "step" in line:
        words.append(f"step {number(line['step'])}" + (f" of {number(line['steps'])}" if line.get("steps") else ""))
    if "epoch" in line:
        words.append(f"epoch {number(line['epoch'])}" + (f" of {number(line['epochs'])}" if line.get("epochs") else ""))
    rate = line.get("examples_per_s") or line.get("rate")
    if isinstance(rate, int | float):
        words.append(f"{rate:,.0f} examples/s")
    left = line.get("seconds_left") or line.get("left_s")
    if isinstance(left, int | float):
        words.append(f"{duration(left)} left")
    metrics = line.get("metrics") if isinstance(line.get("metrics"), dict) else line
    for name in ("val_accuracy", "accuracy", "loss"):
        value = metrics.get(name) if metrics else None
        if isinstance(value, int | float):
            words.append(f"{name.replace('_', ' ')} {percent(value) if 'accuracy' in name else number(value)}")
            break
    return ", ".join(words)


def _last_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_last_line(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(path: Path) -> str:
    """The last whole line that is not empty; reads 4 KB at most."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 4096, 0))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


__all__ = ["Progress", "highlights", "job_detail", "say"]
