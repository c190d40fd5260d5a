"""What every command prints with: tables for people, JSON for scripts."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway import redaction
from shipway.errors import harmless

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@cache
def console(*, stderr: bool = False) -> Console:
    """Rich's console: colours on a terminal unless NO_COLOR is set, wide plain text otherwise."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))  # Rich would end with 1; see shipway.cli.main

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else max(160, shutil.get_terminal_size().columns)
    return Piped(stderr=stderr, width=width, highlight=False, soft_wrap=not stream.isatty())


def print_json(document: Any) -> None:
    """One document on standard output; a number that is none in JSON is null."""
    text = json.dumps(document, ensure_ascii=False, default=_plain)
    document = json.loads(text, parse_constant=lambda _: None)
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__dataclass_fields__"):
        from dataclasses import asdict

        return asdict(value)
    return str(value)


def say(text: str = "", *, style: str = "") -> None:
    """One line for a person; the text is never read as markup."""
    console().print(harmless(redaction.text(text)), style=style or None, markup=False)


def heading(text: str) -> None:
    """A heading above a table or a paragraph."""
    console().print()
    console().print(harmless(text), style="bold", markup=False)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    title: str = "",
    right: Sequence[str] = (),
    styles: Sequence[str | None] = (),
) -> None:
    """A table without frames; nothing in it is read as markup.

    Args:
        columns: Headings.
        rows: Cells, any objects.
        title: Above it.
        right: Columns that stand right.
        styles: One Rich style per row, or None.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False, show_edge=False)
    drawn.title = Text(title, style="bold") if title else None
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for index, row in enumerate(rows):
        style = styles[index] if index < len(styles) else None
        drawn.add_row(*[Text("" if cell is None else harmless(str(cell))) for cell in row], style=style)
    console().print(drawn)


def facts(pairs: Sequence[tuple[str, Any]]) -> None:
    """Names and values in two columns."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        drawn.add_row(name, Text(harmless(str(value))))
    console().print(drawn)


def shown_params(params: Mapping[str, Any]) -> str:
    """Parameters on one line; of a secret only that it was given."""
    from shipway import redaction

    return ", ".join(f"{key}={value}" for key, value in redaction.parameters(params).items()) or "none"
