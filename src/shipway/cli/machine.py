"""`doctor` and `down`: what this machine has, and leaving nothing of ours running on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from shipway.cli.console import AsJson, print_json, say, table

if TYPE_CHECKING:
    from shipway.context import Context

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "missing": ("✗", "red"), "info": ("·", "dim")}


def doctor(as_json: AsJson = False) -> None:
    """What is installed, what is missing, how to mend it.

    Exit code 1 when `shipway demo` would not run.
    """
    from shipway.doctor import examine

    findings = examine()
    if as_json:
        print_json({"ok": not any(f.state == "missing" for f in findings), "findings": findings})
    else:
        rows = [(_MARKS[f.state][0], f.what, f.found, f.mend) for f in findings]
        styles = [_MARKS[f.state][1] if f.state in ("warn", "missing") else None for f in findings]
        table(["", "what", "found", "to mend it"], rows, styles=styles)
        missing = [f.what for f in findings if f.state == "missing"]
        say()
        say(
            f"Missing: {', '.join(missing)}."
            if missing
            else "Everything that `shipway demo` needs is here. Next: shipway demo"
        )
    raise typer.Exit(1 if any(f.state == "missing" for f in findings) else 0)


def down(as_json: AsJson = False) -> None:
    """Stop everything that was started here; data stay."""
    stopped = stop_everything()
    if as_json:
        print_json(stopped)
        return
    lines = [f"{kind[:-1]} {name}" for kind in ("runs", "jobs", "endpoints") for name in stopped[kind]]
    if stopped["store"]:
        lines.append("the object store")
    for line in lines:
        say(f"Stopped {line}.")
    if not lines:
        say("Nothing of ours was running.")


def stop_everything() -> dict[str, Any]:
    """Ends what this home started, in the order in which it depends on each other; safe to call twice."""
    from shipway.context import Context
    from shipway.executors.process.service import list_endpoints, stop_endpoint
    from shipway.storage import embedded

    context = Context.current()
    runs = _stop_runs(context.home)
    jobs = _stop_jobs(context)
    endpoints = [state.name for state in list_endpoints(context) if stop_endpoint(context, state.name)]
    store = bool(embedded.stop(context.home))
    return {"runs": runs, "jobs": jobs, "endpoints": endpoints, "store": store}


def _stop_runs(home: Any) -> list[str]:
    """Hosts end their steps, and those their jobs, when they are told to."""
    from shipway.local.folder import RunFolder

    return [path.name for path in sorted((home / "runs").glob("*")) if RunFolder(home, path.name).stop_host()]


def _stop_jobs(context: Context) -> list[str]:
    """Jobs whose step was killed before it could end them."""
    from shipway.executors.base import Handle
    from shipway.executors.process import ProcessExecutor
    from shipway.executors.process.folder import JobFolder

    stopped = []
    for path in sorted((context.home / "jobs").glob("*/manifest.json")):
        folder = JobFolder(path.parent)
        if not folder.is_supervised():
            continue
        manifest = folder.read("manifest.json") or {}
        namespace = manifest.get("metadata", {}).get("namespace", context.namespace)
        ProcessExecutor(context).cancel(Handle(str(manifest.get("kind")), path.parent.name, namespace, ""))
        stopped.append(path.parent.name)
    return stopped


def store_status() -> dict[str, Any]:
    """Whether the embedded store runs, and where."""
    from shipway.context import Context
    from shipway.storage import embedded

    context = Context.current()
    server = embedded.status(context.home)
    endpoint = server.info.endpoint if server.running and server.info else None
    return {
        "running": server.running,
        "healthy": server.healthy,
        "uri": context.store_uri,
        "endpoint": endpoint,
        "folder": str(context.home / "store"),
    }
