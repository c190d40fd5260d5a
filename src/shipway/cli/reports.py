"""`reports list|open`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shipway.cli.console import AsJson, print_json, say, table
from shipway.cli.place import Kfp, Local

if TYPE_CHECKING:
    from shipway.remote import RemoteRun
    from shipway.runs import Run as LocalRun

app = typer.Typer(help="HTML reports of runs.", no_args_is_help=True, rich_markup_mode=None)
Run = Annotated[str, typer.Argument(help="A run's key or its beginning; `last` for the newest.")]


@app.command("list")
def list_(run: Run = "last", kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """Reports of a run."""
    loaded = _load(run, kfp, local)
    found = _reports(loaded)
    if as_json:
        print_json([{"title": title, "step": step, "uri": uri} for title, (step, uri) in found.items()])
        return
    if not found and (why := _note(loaded)):
        say(f"No report was found: {why}.")
        return
    table(["report", "step", "uri"], [(title, step, uri) for title, (step, uri) in found.items()])
    say(f"Next: shipway reports open {run} [TITLE]", style="dim")


@app.command("open")
def open_(
    run: Run = "last",
    title: Annotated[str | None, typer.Argument(help="As `shipway reports list` names it; without one, all.")] = None,
    browser: Annotated[bool, typer.Option(help="Show in the browser; --no-browser only saves.")] = True,
    out: Annotated[Path | None, typer.Option(help="Folder to save to (default .shipway/reports/RUN).")] = None,
    kfp: Kfp = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Save reports as files and show them."""
    from shipway import private
    from shipway.context import Context
    from shipway.errors import NotFound, nearest
    from shipway.storage import open_uri

    loaded = _load(run, kfp, local)
    found, key = _reports(loaded), loaded.key
    if title is not None and title not in found:
        why = f"; {_note(loaded)}" if _note(loaded) else ""
        raise NotFound(
            f"reports: no report {title!r}; there are {', '.join(found) or 'none'}{why}{nearest(title, found)}"
        )
    folder = out or Context.current().home / "reports" / key
    folder.mkdir(parents=True, exist_ok=True) if out else private.make_folder(folder)
    saved: dict[str, str] = {}
    for name, (_, uri) in found.items():
        if title is None or name == title:
            store, key = open_uri(uri)
            path = _free(folder / f"{_file_name(name)}.html", saved)
            page = store.get(key)
            path.write_bytes(page) if out else private.write_text(path, page.decode())
            saved[name] = str(path)
    if as_json:
        print_json(saved)
    else:
        for name, file in saved.items():
            say(f"{name}: {file}")
    if browser and not as_json:
        _show(list(saved.values()))


def _load(run: str, kfp: str | None, local: bool) -> LocalRun | RemoteRun:
    from shipway.cli.runs import load

    return load(run, kfp, local)


def _show(paths: list[str]) -> None:
    import webbrowser

    for path in paths:
        if not webbrowser.open(Path(path).absolute().as_uri()):
            say("No browser was found here; open the files yourself.", style="dim")
            return


def _file_name(title: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-") or "report"


def _free(path: Path, saved: dict[str, str]) -> Path:
    """The path, with a number where another title was saved under it: `A/B` and `a-b` make one name."""
    others = [path, *(path.with_stem(f"{path.stem}-{number}") for number in range(2, len(saved) + 2))]
    return next(each for each in others if str(each) not in saved.values())


def _note(run: LocalRun | RemoteRun) -> str:
    """Why the records of a run on Kubeflow could not be read."""
    return str(getattr(run, "note", ""))


def _reports(run: LocalRun | RemoteRun) -> dict[str, tuple[str, str]]:
    """Title -> (step, URI)."""
    from shipway.summary import reports_of

    return reports_of(run.steps.values())
