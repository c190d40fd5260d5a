"""What a run looks like in a console and in a notebook: drawn from what is known of it."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shipway.dag import distinct
from shipway.errors import harmless
from shipway.pages.numbers import duration
from shipway.runs.progress import SIGNS, Progress, highlights
from shipway.summary import endpoint_of, fact, figures_of, model_of

if TYPE_CHECKING:
    from shipway.runs.backend import Event, OnEvent
    from shipway.runs.facade import Run

REDRAWN_S = 0.5  # a notebook's output, at most so often


def as_text(run: Run) -> str:
    """Name, state, steps with what each found, scores, decision, endpoint, what to do next."""
    rows = _steps(run)
    wide = max((len(title) for _, title, _, _ in rows), default=0)
    steps = [f"  {sign} {title:{wide}}  {took:>12}  {told}".rstrip() for sign, title, took, told in rows]
    facts = [f"{name}: {value}" for name, value in _facts(run)]
    return harmless("\n".join([f"{run.name}: {_state(run)}", *steps, *facts]))


def as_html(run: Run) -> str:
    """The same, as a table."""

    def cells(*texts: str) -> str:
        return "<tr>" + "".join(f'<td style="text-align:left">{html.escape(text)}</td>' for text in texts) + "</tr>"

    name = html.escape(run.name)
    link = f'<a href="{html.escape(run.url)}" target="_blank">{name}</a>' if run.url else name
    steps = "".join(cells(*row) for row in _steps(run))
    facts = "".join(cells(*pair) for pair in _facts(run))
    return f"<b>{link}</b>: {html.escape(_state(run))}<table>{steps}</table><table>{facts}</table>"


def _state(run: Run) -> str:
    took = f" in {duration(run.seconds)}" if run.has_ended else f", since {duration(run.seconds)}"
    return f"{run.state}{took}"


def _steps(run: Run) -> list[tuple[str, str, str, str]]:
    """Sign, title, time and what was found, of each step; of those that have not begun yet the title."""
    known = {piece.name: piece for step in run.record.steps for piece in step.pieces}
    reached = {step.task for step in run.record.steps}
    titles = distinct({name: piece.label for name, piece in known.items()})
    rows = []
    for name, piece in known.items():
        took = "" if piece.state in ("Pending", "Skipped") or not piece.seconds else duration(piece.seconds)
        took = {"Cached": "from cache", "Running": "running", "Skipped": "skipped"}.get(piece.state, took)
        told = run.backend.detail(name) if piece.state == "Running" else highlights(piece)
        rows.append((SIGNS[piece.state], titles[name], took, told))
    waiting = [title or task for task, title in run.titles.items() if task not in reached and not run.has_ended]
    return [*rows, *((SIGNS["Pending"], title, "", "") for title in waiting)]


def _facts(run: Run) -> list[tuple[str, str]]:
    record = run.record
    by = f", started by {record.started_by}" if record.started_by else ""
    pairs: list[tuple[str, Any]] = [
        ("run", f"{run.key} {'on this machine' if run.is_here else 'on Kubeflow'}{by}"),
        ("measured", figures_of(record.steps)),
        ("decision", ": ".join(filter(None, [_told(run, "decision"), _told(run, "reason")]))),
    ]
    if model := model_of(record):
        pairs.append(("model", f"{model['name']} version {model['version']}"))
    endpoint = endpoint_of(record)
    if endpoint:
        pairs.append(("endpoint", endpoint["url"]))
    if record.error is not None:
        pairs.append(("error", " ".join(record.error.message.split())))
    pairs += [("note", run.note), ("next", _next(run, bool(endpoint)))]
    return [(name, value) for name, value in pairs if value]


def _told(run: Run, name: str) -> str:
    return str(fact(run.record.steps, "gate", name) or "")


def _next(run: Run, answers: bool) -> str:
    if not run.has_ended:
        return "run.wait(), run.cancel()"
    if run.state in ("Failed", "Cancelled"):
        return "run.logs(), run.retry()"
    report_call = [f"run.report({next(iter(run.reports))!r})"] if run.reports else []
    return ", ".join(
        [
            *(["run.endpoint.predict([...])"] if answers else []),
            *report_call,
            *([] if answers or report_call else ["run.logs()"]),
        ]
    )


@contextmanager
def shown(run: Run) -> Iterator[OnEvent]:
    """What to tell a run's events to, so that they are seen: in a notebook, on a terminal, else nowhere."""
    if _in_notebook():
        with _redrawn(run) as tell:
            yield tell
    elif sys.stderr.isatty():
        with Progress(dict(run.titles), run.backend.detail) as progress:
            yield progress
    else:
        yield lambda event: None


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def _redrawn(run: Run) -> Iterator[OnEvent]:
    """One output of the notebook's cell, drawn again as the run goes on."""
    from importlib import import_module

    notebook: Any = import_module("IPython.display")
    handle = notebook.display(notebook.HTML(as_html(run)), display_id=True)
    drawn = time.monotonic()

    def tell(event: Event) -> None:
        nonlocal drawn
        if time.monotonic() - drawn >= REDRAWN_S:
            drawn = time.monotonic()
            handle.update(notebook.HTML(as_html(run)))

    try:
        yield tell
    finally:
        handle.update(notebook.HTML(f"<p>Run {run.key}: {run.state}</p>"))  # the cell's own value shows the rest
