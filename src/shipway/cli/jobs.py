"""`job run manifest.yaml`: any manifest, through the executor that pipelines use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, console, print_json, say, table

if TYPE_CHECKING:
    from shipway.executors import Event

app = typer.Typer(help="Jobs from manifests.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def run(
    manifest: Annotated[Path, typer.Argument(help="YAML of a TFJob, MPIJob or InferenceService.")],
    deadline: Annotated[float | None, typer.Option(help="Seconds until the job is ended as failed.")] = None,
    retries: Annotated[int, typer.Option(help="New attempts after a failure.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run a manifest here as a cluster would; typed again, it is adopted."""
    from shipway.cli.places import prepare_store
    from shipway.context import Context
    from shipway.executors import current
    from shipway.report.numbers import duration

    document = read_manifest(manifest)
    prepare_store()
    executor = current()
    handle = executor.ensure(document, backoff_limit=retries)
    if not as_json:
        say(f"{'Following' if handle.adopted else 'Started'} {handle.kind} {handle.name}")
    try:
        outcome = executor.follow(handle, on_event=None if as_json else _tell, deadline_s=deadline)
    except KeyboardInterrupt:
        executor.cancel(handle)
        raise
    if as_json:
        print_json({"kind": handle.kind, "name": handle.name, "adopted": handle.adopted, **vars(outcome)})
    else:
        say(f"{handle.kind} {handle.name}: {outcome.state} after {duration(outcome.seconds)}")
        if outcome.url:
            say(f"It answers at {outcome.url}")
        if handle.kind != "InferenceService":
            say(f"Logs: {Context.current().home / 'jobs' / handle.name / 'replicas'}", style="dim")
        if outcome.first_failure:
            failure = outcome.first_failure
            table(["first to fail", "exit code", "reason"], [(failure.replica, failure.exit_code, failure.reason)])
            for line in failure.last_lines[-20:]:
                say(f"  | {line}", style="dim")
    raise typer.Exit(0 if outcome.state in ("Succeeded", "Ready") else 1)


def _tell(event: Event) -> None:
    console(stderr=True).print(f"{event.kind}: {event.message}", markup=False, style="dim")


def read_manifest(path: Path) -> dict[str, Any]:
    """One custom resource.

    Raises:
        NotFound: no such file.
        InvalidSpec: not YAML, more than one document, or no apiVersion, kind and metadata.name.
    """
    import yaml

    from shipway.errors import InvalidSpec, NotFound

    try:
        documents = [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d]
    except FileNotFoundError as error:
        raise NotFound(f"job: no file {str(path)!r}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"job: {path} is not YAML: {' '.join(str(error).split())}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InvalidSpec(f"job: {path} holds {len(documents)} documents, expected one custom resource")
    document: dict[str, Any] = documents[0]
    for field in ("apiVersion", "kind", "metadata"):
        if field not in document:
            raise InvalidSpec(f"job: {path}: {field} is missing; expected apiVersion, kind, metadata, spec")
    if not isinstance(document["metadata"], dict) or not document["metadata"].get("name"):
        raise InvalidSpec(f"job: {path}: metadata.name is missing")
    return document
