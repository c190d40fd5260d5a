"""`shipway`: the commands put together, and one way out for every error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from shipway import redaction
from shipway.cli import (
    control,
    demo,
    describing,
    endpoints,
    jobs,
    kubeflow,
    logs,
    machine,
    models,
    reports,
    running,
    runs,
    schedule,
    store,
    streams,
    sweeps,
    tensorboard,
)
from shipway.cli.arguments import spread_params
from shipway.cli.console import print_json
from shipway.context import Context
from shipway.deaths import FULL, full_disk
from shipway.errors import Cancelled, ShipwayError, StorageError, UserError, one_line
from shipway.images import VERSION

DEBUG = "SHIPWAY_DEBUG"  # set: tracebacks for every error
CAUSE_CHARS = 200
_PATH_ERRORS = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS, errno.ENAMETOOLONG,
    errno.ELOOP,
)  # fmt: skip

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
app.command("compile")(describing.compile_)
app.command("list")(describing.list_)
app.command("describe")(describing.describe)
app.add_typer(runs.app, name="runs")
app.add_typer(schedule.app, name="schedule")
app.command("watch")(control.watch)
app.command("cancel")(control.cancel)
app.command("retry")(control.retry)
app.command("clone")(control.clone)
app.command("logs")(logs.logs)
app.command("artifacts")(control.artifacts)
app.command("tensorboard")(tensorboard.tensorboard)
app.add_typer(models.app, name="models")
app.add_typer(endpoints.app, name="endpoints")
app.command("predict")(endpoints.predict)
app.add_typer(sweeps.app, name="sweeps")
app.add_typer(reports.app, name="reports")
app.add_typer(store.app, name="store")
app.add_typer(jobs.app, name="job")
app.command("doctor")(machine.doctor)
app.command("down")(machine.down)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command line and ends the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given[: given.index("--") if "--" in given else None]
    streams.prepare()
    redaction.guard_tracebacks()
    try:
        code = _run(given, as_json)
    except (BrokenPipeError, SystemExit):  # `shipway runs list | head -1`: typer makes an exit with 1 of it
        if not streams.is_broken():
            raise
        code = streams.BROKEN_PIPE
    sys.exit(streams.finish(code))


def _run(given: list[str], as_json: bool) -> int:
    """The command's exit code; every error is told."""
    try:
        return app(args=spread_params(given), prog_name="shipway", standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        return Cancelled.exit_code
    except ShipwayError as error:
        return _explain(error, as_json)
    except BrokenPipeError:
        raise
    except Exception as error:
        code = _usage(error, as_json)
        if code is None and isinstance(error, OSError):
            code = _of_a_path(error, as_json)
        if code is None:
            raise
        return code


class Usage(UserError):
    """A mistake on the command line."""


def _explain(error: ShipwayError, as_json: bool) -> int:
    """One line; what is not the user's to mend also says what it came from."""
    if os.environ.get(DEBUG):
        raise error
    message = one_line(error)
    print(f"error: {message}", file=sys.stderr)
    cause = error.__cause__
    if cause is not None and error.exit_code != UserError.exit_code:
        told = redaction.text(one_line(cause))[:CAUSE_CHARS]
        print(f"caused by: {type(cause).__name__}: {told} ({DEBUG}=1 shows the traceback)", file=sys.stderr)
    return _ended(error, as_json)


def _ended(error: ShipwayError, as_json: bool) -> int:
    """The error as a script reads it: the one object that `--json` promises, whatever happened."""
    if as_json:
        from shipway.artifacts import StepError

        told = StepError.of(error).model_dump(exclude_defaults=True)
        try:
            print_json({"error": {"step": None, **told}, "exit_code": error.exit_code})
        except OSError as problem:  # there is nothing to say it on; the line on standard error was told
            if problem.errno not in FULL:
                raise
    return error.exit_code


def _of_a_path(error: OSError, as_json: bool) -> int | None:
    """A disk that is full, a path that cannot be read or written; None where neither is at fault."""
    where = error.filename if isinstance(error.filename, str) else ""
    if error.errno in FULL:  # a write that finds the disk full does not know its file's name
        home = Context.current().home
        where = where or (str(home) if full_disk(home) else "standard output")
        told: ShipwayError = StorageError(f"{where}: {error.strerror}; free some and run again")
    elif where and error.errno in _PATH_ERRORS:
        told = UserError(
            error.strerror, field=where, fix=f"give a path that you may use ({DEBUG}=1 shows who wanted it)"
        )
    else:
        return None
    return _explain(told, as_json)


def _usage(error: Exception, as_json: bool) -> int | None:
    """A mistake on the command line, as one line; None for anything else."""
    if not isinstance(error, typer.BadParameter.__mro__[2]):  # click's own base, which typer does not export
        return None
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # `shipway` or `shipway runs` alone: its text is the help
        print(error.format_message())  # type: ignore[attr-defined]
        return 2
    command = context.command_path if context is not None else "shipway"
    message = redaction.text(one_line(error.format_message()))  # type: ignore[attr-defined]
    message = f"{message[:1].lower()}{message[1:].rstrip('.')}; see {command} --help"
    print(f"error: {message}", file=sys.stderr)
    return _ended(Usage(message), as_json)


if __name__ == "__main__":
    main()
