"""`logs`: what a run's steps recorded and printed, here and on Kubeflow."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway import redaction
from shipway.cli.console import say
from shipway.cli.options import Key, Kfp, Local

if TYPE_CHECKING:
    from shipway.artifacts import StepRecord
    from shipway.remote.kubeflow_run import KubeflowRun
    from shipway.runs import Run
    from shipway.runs.here import Here


def logs(
    run: Key,
    step: Annotated[
        str | None, typer.Argument(help="A step, by title, name or role; without one, the step that failed, or all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on printing while the run goes on.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="Only the last N lines of each log; 0 for all.")] = 0,
    raw: Annotated[bool, typer.Option("--raw", help="With the lines that KFP itself prints around a step's.")] = False,
    kfp: Kfp = None,
    local: Local = False,
) -> None:
    """What a run's steps recorded and printed."""
    from shipway.runs import load_run
    from shipway.runs.here import Here

    handle = load_run(run, here=local, kfp=kfp)
    if isinstance(handle.backend, Here):
        _print_files(handle, handle.backend, step, follow=follow, tail=tail, is_raw=raw)
    else:
        print_pods(handle, step, follow=follow, tail=tail, is_raw=raw)


def _print_files(run: Run, here: Here, step: str | None, *, follow: bool, tail: int, is_raw: bool) -> None:
    from shipway.runs.wanted import wanted_steps

    files = here.log_files()
    others = [name for name in files if name not in run.steps]
    wanted = [name for name in wanted_steps(run.steps, step, f"run {run.key}", others) if name in files]
    if not wanted:
        say(f"Run {run.key} left no log on this machine.")
    for name in wanted:
        if len(wanted) > 1:
            say(f"==> {name} <==", style="bold")
        _print_file(files[name], tail, here if follow and len(wanted) == 1 else None, is_raw=is_raw)


def _print_file(path: Path, tail: int, followed: Here | None, *, is_raw: bool) -> None:
    from shipway.remote.noise import own_words

    out = redaction.Stream(sys.stdout)
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = file.readlines() if is_raw else list(own_words(file))
        out.writelines(lines[-tail:] if tail else lines)
        while followed is not None and followed.folder.host_lives():
            rest = file.read()
            if not rest:
                time.sleep(0.2)
                continue
            out.write(rest)
            out.flush()
        out.write(file.read())


def print_pods(run: Run, step: str | None, *, follow: bool, tail: int, is_raw: bool = False) -> None:
    """What the steps of a run on Kubeflow recorded, then what their pods printed, as far as it can be read here."""
    from shipway.runs.wanted import wanted_steps

    there: Any = run.backend
    if follow:
        run.wait(lambda event: None)
    wanted = wanted_steps(run.steps, step, f"run {run.key}")
    for name in wanted:
        _print_record(name, run.steps[name], with_heading=len(wanted) > 1)
    if run.note:
        say(f"Note: {run.note}", style="yellow")
    ran = {name for name in wanted if not run.steps[name].cached_from}
    if ran:
        _print_texts(there, ran, tail, is_raw=is_raw)


def _print_texts(there: KubeflowRun, steps: set[str], tail: int, *, is_raw: bool) -> None:
    from shipway.remote.noise import own_words

    printed, notes = there.pod_logs(steps)
    for name, text in printed.items():
        say(f"==> {name} (pod) <==", style="bold")
        lines = text.splitlines(keepends=True)
        lines = lines if is_raw else list(own_words(lines)) or ["(nothing of its own; --raw shows Kubeflow's lines)\n"]
        redaction.Stream(sys.stdout).writelines(lines[-tail:] if tail else lines)
    for note in notes:
        say(note, style="dim")


def _print_record(name: str, record: StepRecord, *, with_heading: bool) -> None:
    from shipway.runs.progress import MARKS

    if with_heading:
        say(f"==> {name} <==", style="bold")
    say(f"{record.label}: {record.state} after {record.seconds:.1f} s", style=MARKS.get(record.state, ""))
    if record.cached_from:
        say(f"From the cache: shipway logs {record.cached_from} {name} has what the pod printed that did the work.")
    for part in record.parts:
        say(f"  {part.label}: {part.state} after {part.seconds:.1f} s", style=MARKS.get(part.state, ""))
    if record.error is not None:
        say(f"error: {record.error.message}")
        if record.error.replica:
            say(f"First to fail: {record.error.replica} (exit code {record.error.exit_code})")
        for line in record.error.last_lines:
            say(f"  | {line}", style="dim")
    for key, value in record.outputs.items():
        say(f"  {key} = {value}", style="dim")
