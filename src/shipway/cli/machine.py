"""`doctor` and `down`: what this machine has, and leaving nothing of ours running on it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, print_json, say, table
from shipway.errors import ShipwayError, one_line

if TYPE_CHECKING:
    from shipway.context import Context
    from shipway.doctor import Finding
    from shipway.executors.process.folder import JobFolder

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

        raise InvalidSpec("is about a cluster", field=f"doctor {extra[0]}", fix="add --cluster")
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
    stopped, left = stop_everything()
    if as_json:
        print_json({**stopped, "left": left})
        raise typer.Exit(1 if left else 0)
    lines = [f"{kind[:-1]} {name}" for kind in ("runs", "jobs", "endpoints") for name in stopped[kind]]
    if stopped["store"]:
        lines.append("the object store")
    for line in lines:
        say(f"Stopped {line}.")
    if not lines and not left:
        say("Nothing of ours was running.")
    for line in left:
        print(f"error: {line}", file=sys.stderr)
    raise typer.Exit(1 if left else 0)


def stop_everything() -> tuple[dict[str, Any], list[str]]:
    """Ends what this home started, in the order in which it depends on each other; safe to call twice.

    Returns:
        What was stopped, and what goes on in spite of it, as lines: one that does not end keeps no other alive.
    """
    from shipway.context import Context
    from shipway.executors.process.service import list_endpoints, stop_endpoint
    from shipway.local.folder import RunFolder, remove_scratch
    from shipway.storage import embedded

    context = Context.current()
    left: list[str] = []

    def ended(what: str, end: Callable[[], bool], lives: Callable[[], bool]) -> bool:
        """Ends one thing, and looks."""
        try:
            was_there, goes_on = end(), lives()
        except (ShipwayError, OSError) as error:
            left.append(f"{what}: {one_line(error)}")
            return False
        if goes_on:
            left.append(f"{what}: it was told to end, and goes on")
            return False
        return was_there

    runs = [RunFolder(context.home, path.name) for path in sorted((context.home / "runs").glob("*"))]
    stopped = [run.run for run in runs if ended(f"run {run.run}", run.stop_host, run.host_lives)]
    jobs = [job.path.name for job in _jobs(context)
            if ended(f"job {job.path.name}", partial(_stop_job, context, job), partial(_works, job))]  # fmt: skip
    points = [state.name for state in list_endpoints(context)]

    def serves(name: str) -> bool:
        return any(state.name == name for state in list_endpoints(context))

    points = [p for p in points if ended(f"endpoint {p}", partial(stop_endpoint, context, p), partial(serves, p))]
    remove_scratch(context.home)
    store = ended("the object store", partial(embedded.stop, context.home), lambda: store_status()["running"])
    return {"runs": stopped, "jobs": jobs, "endpoints": points, "store": store}, left


def _jobs(context: Context) -> list[JobFolder]:
    """Jobs whose step was killed before it could end them; what one left whose supervisor was killed, too, goes."""
    from shipway.executors.process.attempts import bury
    from shipway.executors.process.folder import JobFolder

    folders = [JobFolder(path.parent) for path in sorted((context.home / "jobs").glob("*/manifest.json"))]
    supervised = [job for job in folders if job.is_supervised()]
    for job in folders:
        if job not in supervised:
            bury(job, "Cancelled")
    return supervised


def _works(job: JobFolder) -> bool:
    """Whether replicas may still run: a supervisor ends a moment behind its job, or lingers as cleanPodPolicy says."""
    from shipway.executors.process.folder import FINAL

    state = job.state()
    return job.is_supervised() and (state.get("state") not in FINAL or bool(state.get("lingers")))


def _stop_job(context: Context, job: JobFolder) -> bool:
    from shipway.executors.base import Handle
    from shipway.executors.process import ProcessExecutor

    manifest = job.read("manifest.json") or {}
    namespace = manifest.get("metadata", {}).get("namespace", context.namespace)
    ProcessExecutor(context).cancel(Handle(str(manifest.get("kind")), job.path.name, namespace, ""))
    return True


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
