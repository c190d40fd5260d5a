"""`doctor` and `down`: what this machine has, and leaving nothing of ours running on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, print_json, say, table

if TYPE_CHECKING:
    from shipway.context import Context
    from shipway.doctor import Finding

MEND_CHARS = 72
_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "missing": ("✗", "red"), "info": ("·", "dim")}


def doctor(
    cluster: Annotated[bool, typer.Option("--cluster", help="The cluster of KUBECONFIG, in place of here.")] = False,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Where steps run; default: SHIPWAY_NAMESPACE, this pod's, default.")
    ] = "",
    service_account: Annotated[
        str, typer.Option("--service-account", help="That steps run as; default: pipeline-runner or default-editor.")
    ] = "",
    image: Annotated[
        str, typer.Option("--image", help="For the pods that look for storage; default: the pipeline's own.")
    ] = "",
    pipeline: Annotated[
        str,
        typer.Option("--pipeline", help="Whose steps are tried; published where a Kubeflow is configured, else here."),
    ] = "",
    gpu: Annotated[int, typer.Option("--gpu", min=0, help="GPUs that one replica will ask for.")] = 0,
    as_json: AsJson = False,
) -> None:
    """What is installed, what is missing, how to mend it.

    Here, exit code 1 when `shipway demo` would not run; with --cluster, when something that pipelines need there is
    missing. Of a cluster everything is looked at, nothing is changed, and two short pods are started and deleted.
    """
    if cluster:
        from shipway.doctor.cluster import examine as examine_cluster

        findings = examine_cluster(namespace, service_account, image, gpu, pipeline)
        untried = [each.what for each in findings if each.found.startswith("not tried")]
        well = "Everything that pipelines need there is there."
        _tell(findings, f"Nothing is missing; not tried: {', '.join(untried)}." if untried else well, as_json)
        return
    given = {"--namespace": namespace, "--service-account": service_account, "--image": image,
             "--pipeline": pipeline, "--gpu": gpu}  # fmt: skip
    if extra := [name for name, value in given.items() if value]:
        from shipway.errors import InvalidSpec

        raise InvalidSpec(f"doctor {extra[0]}: is about a cluster; add --cluster")
    from shipway.doctor import examine

    _tell(examine(), "Everything that `shipway demo` needs is here. Next: shipway demo", as_json)


def _tell(findings: list[Finding], well: str, as_json: bool) -> None:
    """Prints what was found, and ends the command with its exit code."""
    missing = [f.what for f in findings if f.state == "missing"]
    if as_json:
        print_json({"ok": not missing, "findings": findings})
    else:
        # A long command is copied from a line of its own, not from a column that folds it.
        long = [f for f in findings if len(f.mend) > MEND_CHARS]
        rows = [(_MARKS[f.state][0], f.what, f.found, "see below" if f in long else f.mend) for f in findings]
        styles = [_MARKS[f.state][1] if f.state in ("warn", "missing") else None for f in findings]
        table(["", "what", "found", "to mend it"], rows, styles=styles)
        for finding in long:
            say(f"\n{finding.what}:")
            print(f"  {finding.mend}")
        say()
        say(f"Missing: {', '.join(missing)}." if missing else well)
    raise typer.Exit(1 if missing else 0)


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
    from shipway.local.folder import remove_scratch
    from shipway.storage import embedded

    context = Context.current()
    runs = _stop_runs(context.home)
    jobs = _stop_jobs(context)
    endpoints = [state.name for state in list_endpoints(context) if stop_endpoint(context, state.name)]
    remove_scratch(context.home)
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
    from shipway.executors.process.attempts import bury
    from shipway.executors.process.folder import JobFolder

    stopped = []
    for path in sorted((context.home / "jobs").glob("*/manifest.json")):
        folder = JobFolder(path.parent)
        if not folder.is_supervised():
            bury(folder, "Cancelled")  # its supervisor was killed: what that left outside its folder goes too
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
