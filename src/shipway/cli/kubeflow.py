"""`publish` and `submit`: to Kubeflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, facts, heading, print_json, say, shown_params, table
from shipway.cli.options import DryRun, EventKey, Kfp, Params, ParamsFile, StartedBy
from shipway.store_secret import DEFAULT_SECRET

if TYPE_CHECKING:
    from shipway.remote import Connection
    from shipway.remote.submit import Submission

Experiment = Annotated[str | None, typer.Option(help="Experiment to list the run under.")]
Version = Annotated[str | None, typer.Option(help="Published version; default: the current one.")]
Preset = Annotated[str | None, typer.Option(help="A preset of the pipeline (shipway describe PIPELINE).")]
Name = Annotated[str | None, typer.Option(help="The readable part of the run's name.")]
ServiceAccount = Annotated[str | None, typer.Option(help="Kubernetes ServiceAccount of the run's pods.")]


Secret = Annotated[str, typer.Option(help="Secret that leads steps to storage, where the run's pods are.")]
Digest = Annotated[list[str] | None, typer.Option(help="image=sha256:..., for each image to pin.")]
DigestFile = Annotated[
    Path | None, typer.Option("--digests", help="File of digests, as make images writes it; --digest wins over it.")
]


def read_digests(pairs: list[str] | None, file: Path | None = None) -> dict[str, str]:
    """`image=sha256:...` pairs, over what a JSON file says."""
    from shipway.errors import InvalidSpec

    digests = _digest_file(file) if file else {}
    for pair in pairs or []:
        image, equals, value = pair.partition("=")
        if not equals:
            raise InvalidSpec(
                field=f"--digest {pair!r}", allowed="image=sha256:..., as in --digest launcher=sha256:0123..."
            )
        digests[image] = value
    return digests


def _digest_file(file: Path) -> dict[str, str]:
    from shipway.errors import InvalidSpec

    try:
        digests = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSpec(
            error.strerror, field=f"--digests {file}", fix="`make images` writes dist/images/digests.json"
        ) from error
    except ValueError as error:
        raise InvalidSpec(f"not JSON ({error})", field=f"--digests {file}") from error
    if not isinstance(digests, dict) or not all(isinstance(value, str) for value in digests.values()):
        raise InvalidSpec(field=f"--digests {file}", allowed='an object such as {"launcher": "sha256:..."}')
    return digests


def publish(
    pipeline: Annotated[str, typer.Argument(help="A pipeline, file.py:function or package.module:function.")],
    kfp: Kfp = None,
    version: Annotated[
        str | None, typer.Option(help="Its version; that of its plan, the package's for a shipped one.")
    ] = None,
    registry: Annotated[str | None, typer.Option(help="Registry and path instead of the package's own.")] = None,
    digest: Annotated[list[str] | None, typer.Option(help="image=sha256:..., else the registry is asked.")] = None,
    digests: DigestFile = None,
    secret: Secret = DEFAULT_SECRET,
    pin: Annotated[bool, typer.Option(help="Pin images by digest; --no-pin leaves tags.")] = True,
    current: Annotated[bool, typer.Option(help="Make it the version to use; --no-current: beside that.")] = True,
    as_json: AsJson = False,
) -> None:
    """Publish a pipeline to Kubeflow as a version; again, it does nothing."""
    from shipway.remote import connect

    done = connect(kfp).publish(
        pipeline, version=version, registry=registry, digests=read_digests(digest, digests), pin=pin, current=current,
        secret=secret,
    )  # fmt: skip
    if as_json:
        print_json(done)
        return
    state = "Published" if done.is_new else "Already published, with the very same content; nothing was done:"
    say(f"{state} {done.pipeline} version {done.version}.")
    facts([("content", f"sha256:{done.content}"), *(("image", image) for image in done.images)])
    for note in done.notes:
        say(f"Note: {note}.", style="yellow")
    say(f"Next: shipway submit {done.pipeline} --param name=my-bot data=s3://...", style="dim")


def submit(
    pipeline: Annotated[str, typer.Argument(help="A published pipeline: name or name@version.")],
    kfp: Kfp = None,
    param: Params = None,
    params_file: ParamsFile = None,
    preset: Preset = None,
    version: Version = None,
    experiment: Experiment = None,
    name: Name = None,
    service_account: ServiceAccount = None,
    started_by: StartedBy = None,
    key: EventKey = "",
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Start a run of a published pipeline on Kubeflow; `run` also follows it."""
    from shipway.cli.arguments import collect_params
    from shipway.remote import connect

    params = collect_params(param or [], params_file, preset)
    send(
        connect(kfp), pipeline, params, version=version, experiment=experiment, name=name,
        service_account=service_account, started_by=started_by, key=key, watch=watch, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip


def send(
    kubeflow: Connection,
    pipeline: str,
    params: dict[str, Any],
    *,
    watch: bool,
    dry_run: bool,
    as_json: bool,
    service_account: str | None = None,
    **options: Any,
) -> None:
    """Checks, shows, starts, and follows where that is asked."""
    submission = kubeflow.prepare(pipeline, params, **options)
    if dry_run:
        print_json(submission_document(kubeflow, submission)) if as_json else show_submission(kubeflow, submission)
        if not as_json:
            say()
            say("Nothing was started (--dry-run).", style="dim")
        return
    if not as_json:
        show_submission(kubeflow, submission)
        say()
    from shipway.cli.following import after_start

    run = kubeflow.start(submission, service_account=service_account)
    after_start(run, submission.tasks, watch=watch, as_json=as_json)


def submission_document(kubeflow: Connection, submission: Submission) -> dict[str, Any]:
    """What `--dry-run --json` prints."""
    from shipway import redaction

    return {
        "kfp": redaction.address(kubeflow.settings.url),
        "namespace": kubeflow.settings.namespace,
        "pipeline": submission.target.pipeline,
        "version": submission.target.version,
        "experiment": submission.experiment,
        "name": submission.name,
        "started_by": submission.started_by,
        "idempotency_key": submission.key,
        "params": redaction.parameters(submission.params),
        "tasks": submission.tasks,
        "notes": submission.notes,
    }


def show_submission(kubeflow: Connection, submission: Submission) -> None:
    """The plan as a table."""
    document = submission_document(kubeflow, submission)
    heading(f"Plan: {document['pipeline']} on Kubeflow")
    where = document["kfp"] + (f", namespace {document['namespace']}" if document["namespace"] else "")
    facts(
        [
            ("runs on", where),
            ("version", document["version"]),
            ("experiment", document["experiment"]),
            ("parameters", shown_params(submission.params)),
        ]
    )
    rows = [(index, title, task) for index, (task, title) in enumerate(submission.tasks.items(), 1)]
    table(["#", "step", "task"], rows, right=["#"])
    for note in submission.notes:
        say(note, style="dim")
