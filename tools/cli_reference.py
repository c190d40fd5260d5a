"""Writes docs/cli.md from the commands themselves; `--check` says whether it is up to date."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from shipway.cli.main import app

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """# The command line

Written by `python tools/cli_reference.py` from the commands; `shipway COMMAND --help` says the same.
Exit codes: [exit-codes.md](exit-codes.md). `--json` prints one document on standard output; progress and errors go to
standard error. Colours only on a terminal and without `NO_COLOR`.
"""


def reference() -> str:
    """The whole page."""
    parts = [HEAD, *(_section(path, command) for path, command in _commands(["shipway"], typer.main.get_command(app)))]
    return "\n".join(parts)


def _commands(path: list[str], command: Any) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from _commands([*path, name], inner)
        else:
            yield " ".join([*path, name]), inner


def _section(path: str, command: Any) -> str:
    usage = " ".join(_usage(parameter) for parameter in command.params if parameter.name != "help")
    lines = [f"## `{path}`", "", inspect.cleandoc(command.help or ""), "", "```", f"{path} {usage}".rstrip(), "```", ""]
    for parameter in command.params:
        if parameter.name == "help" or not parameter.help:
            continue
        is_argument = parameter.param_type_name == "argument"
        names = parameter.name.upper() if is_argument else ", ".join([*parameter.opts, *parameter.secondary_opts])
        lines.append(f"- `{names}`: {parameter.help}")
    return "\n".join(lines).rstrip() + "\n"


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
        return name if parameter.required else f"[{name}]"
    option = max(parameter.opts, key=len)
    return f"[{option}]" if parameter.is_flag else f"[{option} {parameter.name.upper()}]"


def main() -> int:
    """0 when the page is up to date (or was written), 1 when it is not."""
    wanted = reference()
    if "--check" in sys.argv:
        is_current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
        if not is_current:
            print("docs/cli.md is not up to date; run python tools/cli_reference.py")
        return int(not is_current)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
