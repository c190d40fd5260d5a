"""What a running step is at: the newest word of its jobs, or of its log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shipway.dag import Place
from shipway.local.folder import RunFolder
from shipway.pages.numbers import duration, figure, number

TAIL_BYTES = 16 << 10
_NOISE = ("[KFP ", "{", "}", '"')  # kfp's own lines in every step's log


def step_detail(folder: RunFolder, step: str, began: float) -> str:
    """A few words of a running step: step, rate, time left, where they are known.

    Args:
        folder: Of the run.
        step: Its name.
        began: When the run was started, seconds since 1970.
    """
    request = folder.request()
    room = request.rooms.get(Place.parse(step).task)
    if room == "train":
        told = training_detail(_newest_events(folder.home, began))
        if told:
            return told
    lines = _tail(folder.task_log(step))
    if room == "sweep":
        return sweep_detail(lines, request.trials)
    return next((line for line in reversed(lines) if line and not line.startswith(_NOISE)), "")


def training_detail(events: Iterable[dict[str, Any]]) -> str:
    """`step 135 of 209, 735 examples/s, 12 s left, val accuracy 95.7 %`, as far as the replicas said it."""
    from shipway.tasks import is_share

    lines = [e["data"] for e in events if e.get("kind") == "progress" and "step" in e.get("data", {})]
    if not lines:
        return ""
    first, last = lines[0], lines[-1]
    steps, total = last["step"], last.get("total_steps")
    words = [f"step {number(steps)}" + (f" of {number(total)}" if total else "")]
    if last.get("examples_per_s"):
        words.append(f"{last['examples_per_s']:,.0f} examples/s")
    passed = last.get("at", 0) - first.get("at", 0)
    if total and steps > first["step"] and passed > 0:
        words.append(f"{duration((total - steps) * passed / (steps - first['step']))} left")
    for name in [name for name in last if name.startswith("val_") and name != "val_loss"][:1]:
        words.append(f"{name.replace('_', ' ')} {figure(last[name], is_share(name.removeprefix('val_')))}")
    return ", ".join(words)


def sweep_detail(lines: Iterable[str], trials: int | None) -> str:
    """`3 of 8 trials, last val_accuracy=0.9644 in 11.2 s`."""
    ended = [line for line in lines if line.startswith("trial ")]
    of = f" of {trials}" if trials else ""
    if not ended:
        return f"0{of} trials"
    words = ended[-1].split(" (")[0].split(maxsplit=2)[-1]
    return f"{len({line.split()[1] for line in ended})}{of} trials, last {words}"


def _newest_events(home: Path, since: float) -> list[dict[str, Any]]:
    """The last events of the job that spoke last, none where no job spoke since."""
    files = sorted((home / "jobs").glob("*/events.jsonl"), key=_modified)
    if not files or _modified(files[-1]) < since:
        return []
    events = []
    for line in _tail(files[-1]):
        try:
            events.append(json.loads(line))
        except ValueError:  # the first line of the tail may be half a line
            continue
    return [event for event in events if isinstance(event, dict)]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _tail(path: Path) -> list[str]:
    """The last lines of a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, 2) - TAIL_BYTES, 0))
            return [line.strip() for line in file.read().decode("utf-8", errors="replace").splitlines()]
    except OSError:
        return []
