"""Following a run to its end, wherever it is, and the screen that it ends with."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from shipway.cli.console import print_json, say
from shipway.errors import Cancelled, JobFailed

if TYPE_CHECKING:
    from shipway.runs import Run


def follow(run: Run, *, as_json: bool, titles: dict[str, str] | None = None) -> NoReturn:
    """Ends the command with the run's exit code; Ctrl-C stops a run that ends with this process, and leaves any other.

    Args:
        run: It may have ended.
        as_json: Print its document, and nothing on the way.
        titles: Its tasks, as far as they are known already.
    """
    from shipway.runs.progress import Progress
    from shipway.summary import exit_code

    if not run.has_ended:
        if as_json:
            _until_stopped(run, lambda event: None)
        else:
            with Progress(titles or {}, run.backend.detail) as progress:
                _until_stopped(run, progress)
    summary = run.summary()
    show_summary(summary, as_json=as_json)
    raise typer.Exit(exit_code(summary))


def _until_stopped(run: Run, on_event: Callable[[dict[str, Any]], None]) -> None:
    def stop(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        run.wait(on_event)
    except KeyboardInterrupt:
        if not run.is_ours:
            say(f"Not watched any more; the run goes on. Next: shipway watch {run.key}, or shipway cancel {run.key}")
            raise typer.Exit(Cancelled.exit_code) from None
        run.cancel()
        with suppress(JobFailed):
            run.wait(on_event)
    finally:
        signal.signal(signal.SIGTERM, before)


def show_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    """The closing screen, or its document."""
    from shipway.cli.screens import closing_screen, error_line

    if not as_json:
        closing_screen(summary)
        return
    print_json(summary)
    if summary["error"]:
        print(error_line(summary["error"]), file=sys.stderr)


def after_start(run: Run, tasks: dict[str, str], *, watch: bool, as_json: bool) -> None:
    """What a command ends with that started a run, or found it by its idempotency key."""
    tell_of_before(run, as_json=as_json)
    if watch and not as_json:
        say(f"Run {run.key} ({run.name})", style="dim")
    if watch:
        follow(run, titles=tasks, as_json=as_json)
    if as_json:
        print_json({"run": run.key, "name": run.name, "state": run.state, "url": run.url, "is_new": run.is_new})
        return
    if run.is_new:
        say(f"Started {run.name}: run {run.key}" + (f", {run.url}" if run.url else ""))
    say(f"Next: shipway watch {run.key}", style="dim")


def tell_of_before(run: Run, *, as_json: bool) -> None:
    """Says so where an idempotency key led to a run that was there."""
    if not run.is_new and run.record.idempotency_key and not as_json:
        key, by = run.record.idempotency_key, run.started_by or "somebody"
        say(f"Nothing was started: run {run.key} has the key {key}, and {by} started it.", style="yellow")
