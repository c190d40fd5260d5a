"""`reports list|open`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shipway.cli.console import AsJson, print_json, say, table
from shipway.cli.options import Key, Kfp, Local

app = typer.Typer(help="HTML reports of runs.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(run: Key = "last", kfp: Kfp = None, local: Local = False, as_json: AsJson = False) -> None:
    """Reports of a run."""
    from shipway.runs import load_run
    from shipway.summary import reports_of

    loaded = load_run(run, here=local, kfp=kfp)
    reports = reports_of(loaded.record.steps)
    if as_json:
        print_json([{"title": title, "step": step, "uri": uri} for title, (step, uri) in reports.items()])
        return
    if not reports and (why := loaded.note):
        say(f"No report was found: {why}.")
        return
    table(["report", "step", "uri"], [(title, step, uri) for title, (step, uri) in reports.items()])
    say(f"Next: shipway reports open {run} [TITLE]", style="dim")


@app.command("open")
def open_(
    run: Key = "last",
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
    from shipway.runs import load_run

    loaded = load_run(run, here=local, kfp=kfp)
    reports, key = loaded.reports, loaded.key
    if title is not None and title not in reports:
        why = f"; {loaded.note}" if loaded.note else ""
        raise NotFound(
            f"no report {title!r}; there are {', '.join(reports) or 'none'}{why}{nearest(title, reports)}",
            field="reports",
            given=title,
        )
    folder = out or Context.current().home / "reports" / key
    folder.mkdir(parents=True, exist_ok=True) if out else private.make_folder(folder)
    saved: dict[str, str] = {}
    for name in reports:
        if title is None or name == title:
            path = _free(folder / f"{_file_name(name)}.html", saved)
            page = loaded.report(name)
            path.write_text(page, encoding="utf-8") if out else private.write_text(path, page)
            saved[name] = str(path)
    if as_json:
        print_json(saved)
    else:
        for name, file in saved.items():
            say(f"{name}: {file}")
    if browser and not as_json:
        _show(list(saved.values()))


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
