"""The same verbs for runs on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from shipway.cli.progress import Progress


def watch_here(run: str, *, as_json: bool) -> None:
    """Follows a run that another terminal started, or shows how it ended."""
    from shipway.cli.console import print_json
    from shipway.cli.progress import Progress
    from shipway.cli.runs import home, load_here, local_key
    from shipway.cli.screens import closing_screen
    from shipway.local.folder import RunFolder
    from shipway.runs import Run
    from shipway.summary import exit_code, summarise

    key = local_key(run)
    if RunFolder(home(), key).host_lives():
        found = Run(key, home())
        if as_json:
            found.wait()
        else:
            with Progress({}) as progress:
                found.wait(lambda event: _tell(progress, event))
    else:
        found = load_here(key)
    summary = summarise(found)
    print_json(summary) if as_json else closing_screen(summary)
    raise typer.Exit(exit_code(summary))


def _tell(progress: Progress, event: dict[str, Any]) -> None:
    if event["kind"] == "tasks":
        progress.titles.update(event["titles"])
    progress(event)


def cancel_here(run: str) -> tuple[str, str, bool]:
    """Key, state at the end as it was told, and whether it had ended before."""
    from shipway.cli.runs import home, load_here, local_key
    from shipway.local.folder import RunFolder

    key = local_key(run)
    folder = RunFolder(home(), key)
    if not folder.stop_host():
        return key, folder.state() or load_here(key).state, True
    # A host that had to be killed says no last word: it was stopped, that much is sure.
    return key, folder.state() or "Cancelled", False


def play_again(run: str, changes: dict[str, Any], *, as_json: bool) -> None:
    """The command that started a run, typed again; with `changes` it is another run."""
    from shipway import references
    from shipway.cli.running import play
    from shipway.cli.runs import home, local_key
    from shipway.local.folder import RunFolder

    request = RunFolder(home(), local_key(run)).request()
    references.learn(request.secrets)
    params = references.reveal_all(json.loads(json.dumps(request.params))) | changes
    play(request.pipeline_name or request.pipeline, params, fresh=False, dry_run=False, as_json=as_json)
