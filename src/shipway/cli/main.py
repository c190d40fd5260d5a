"""`shipway`: the commands put together, and one way out for every error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from shipway.cli import (
    catalog,
    control,
    demo,
    endpoints,
    jobs,
    kubeflow,
    machine,
    models,
    reports,
    running,
    runs,
    store,
)
from shipway.cli.arguments import spread_params
from shipway.errors import ShipwayError, UserError
from shipway.images import VERSION

DEBUG = "SHIPWAY_DEBUG"  # set: tracebacks for every error

HELP = """Takes rows to a served, verified model: here with processes, on Kubeflow with the same pipeline.

First steps:  shipway demo  |  shipway run train_and_deploy --local --param name=my-bot data=rows.csv

On Kubeflow:  shipway publish train_and_deploy --kfp URL  |  shipway submit train-and-deploy --param name=... data=s3://...

Exit codes: 0 done, 1 it failed, 2 yours to mend (one line says how), 130 stopped by you.
"""

app = typer.Typer(
    name="shipway",
    help=HELP,
    no_args_is_help=True,
    # Help drawn by Rich costs a quarter of a second.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def shipway(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(VERSION)
        raise typer.Exit


app.command("demo")(demo.demo)
app.command("run")(running.run)
app.command("submit")(kubeflow.submit)
app.command("publish")(kubeflow.publish)
app.command("compile")(catalog.compile_)
app.command("list")(catalog.list_)
app.command("describe")(catalog.describe)
app.add_typer(runs.app, name="runs")
app.command("watch")(control.watch)
app.command("cancel")(control.cancel)
app.command("retry")(control.retry)
app.command("clone")(control.clone)
app.command("logs")(runs.logs)
app.command("artifacts")(control.artifacts)
app.add_typer(models.app, name="models")
app.add_typer(endpoints.app, name="endpoints")
app.command("predict")(endpoints.predict)
app.add_typer(reports.app, name="reports")
app.add_typer(store.app, name="store")
app.add_typer(jobs.app, name="job")
app.command("doctor")(machine.doctor)
app.command("down")(machine.down)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command line and ends the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows ? for a tick, not a traceback
    try:
        code = app(args=spread_params(given), prog_name="shipway", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except ShipwayError as error:
        code = _explain(error)
    except BrokenPipeError:  # `shipway runs list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        code = _usage(error)
        if code is None:
            raise
    sys.exit(code or 0)


def _explain(error: ShipwayError) -> int:
    """One line; what is not the user's to mend also says what it came from."""
    if os.environ.get(DEBUG):
        raise error
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    cause = error.__cause__
    if cause is not None and not isinstance(error, UserError):
        print(f"caused by: {type(cause).__name__}: {cause} ({DEBUG}=1 shows the traceback)", file=sys.stderr)
    return error.exit_code


def _usage(error: Exception) -> int | None:
    """A mistake on the command line, as one line; None for anything else."""
    if not isinstance(error, typer.BadParameter.__mro__[2]):  # click's own base, which typer does not export
        return None
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # `shipway` or `shipway runs` alone: its text is the help
        print(error.format_message())  # type: ignore[attr-defined]
        return 2
    command = context.command_path if context is not None else "shipway"
    message = " ".join(str(error.format_message()).split())  # type: ignore[attr-defined]
    print(f"error: {message[:1].lower()}{message[1:].rstrip('.')}; see {command} --help", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
