"""Writes README's table of components and pipelines from their docstrings; `--check` says whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from shipway.catalog import Entry, catalog

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- components: python tools/component_table.py -->", "<!-- /components -->"


def component_table(entries: list[Entry]) -> str:
    """Two Markdown tables: pipelines, then components, each with what goes in and comes out."""
    lines = ["| pipeline | what it does | presets |", "|---|---|---|"]
    for entry in entries:
        if entry.kind == "pipeline":
            presets = ", ".join(f"`{name}`" for name in entry.details()["presets"])
            lines.append(f"| `{entry.name}` | {_cell(entry.description)} | {presets} |")
    lines += ["", "| component | what it does | in | out |", "|---|---|---|---|"]
    for entry in entries:
        if entry.kind == "component":
            details = entry.details()
            given = ", ".join(f"`{i['name']}`" for i in details["inputs"])
            made = ", ".join(f"`{o['name']}`" for o in details["outputs"])
            lines.append(f"| `{entry.name}` | {_cell(entry.description)} | {given} | {made} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_table(text: str, table: str) -> str:
    """The document with the table between the markers.

    Raises:
        ValueError: the markers are missing.
    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"README.md: the lines {BEGIN!r} and {END!r} are missing; put them where the table belongs")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """0 when README is up to date (or was written), 1 when it is not."""
    text = README.read_text(encoding="utf-8")
    wanted = with_table(text, component_table(catalog()))
    if "--check" in sys.argv:
        if text != wanted:
            print("README.md: the table of components is not up to date; run python tools/component_table.py")
        return int(text != wanted)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
