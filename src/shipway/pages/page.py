"""A report: blocks in order, rendered into one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from markupsafe import Markup

from shipway.images import VERSION
from shipway.pages.numbers import number

LIMIT_BYTES = 1_000_000  # KFP shows an HTML artifact in a frame, and refuses much more
Tone = Literal["good", "warn", "bad", "info"]


@dataclass(frozen=True)
class _Block:
    what: str  # names the block when it has to be left out
    html: Markup


class Report:
    """Blocks of a report in order; every method but `render` and `write` returns the report itself.

    Everything given is escaped, except `Markup`, which the charts of `shipway.pages` return.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._blocks: list[_Block] = []

    def section(self, title: str, text: str = "") -> Self:
        """A heading, and a paragraph below it."""
        self._add(f"section {title}", Markup("<h2>{}</h2>").format(title))
        return self.text(text) if text else self

    def text(self, text: str) -> Self:
        """A paragraph."""
        return self._add("text", Markup("<p>{}</p>").format(text))

    def tiles(self, figures: Mapping[str, object], tones: Mapping[str, Tone] | None = None) -> Self:
        """Key figures: name to value, or to (value, what it means in a few words)."""
        return self._block("tiles.html", "key figures", figures=figures, tones=tones or {})

    def callout(self, tone: Tone, title: str, text: str = "") -> Self:
        """A framed sentence: `good`, `warn`, `bad` or `info`."""
        return self._block("callout.html", title, tone=tone, title=title, text=text)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        caption: str = "",
        sortable: bool = True,
        max_rows: int = 500,
        tones: Sequence[Tone | None] | None = None,
    ) -> Self:
        """A table that scrolls; numbers stand right, and a click on a heading sorts.

        Args:
            columns: Headings.
            rows: Cells; numbers are formatted, `Markup` is kept, the rest is escaped. A cell may be a pair
                (what is shown, what it is sorted by).
            caption: Above the table.
            sortable: Whether a click on a heading sorts.
            max_rows: Rows kept; how many were left out is said.
            tones: One tone per row, or None.
        """
        all_rows = [[_cell(cell) for cell in row] for row in rows]
        right = [bool(all_rows) and all(row[i]["numeric"] for row in all_rows) for i in range(len(columns))]
        return self._block(
            "table.html",
            f"table {caption}".strip(),
            columns=list(columns),
            rows=all_rows[:max_rows],
            left_out=max(len(all_rows) - max_rows, 0),
            caption=caption,
            sortable=sortable and len(all_rows) > 1,
            right=right,
            tones=list(tones or []),
        )

    def facts(self, facts: Mapping[str, object], *, caption: str = "") -> Self:
        """Names beside their values, for parameters and versions."""
        pairs = [(name, _value(value)) for name, value in facts.items()]
        return self._block("facts.html", f"facts {caption}".strip(), facts=pairs, caption=caption)

    def chart(self, chart: Markup, note: str = "") -> Self:
        """A chart made by `shipway.pages`."""
        if not isinstance(chart, Markup):
            raise TypeError(f"chart: expected what a chart function of shipway.pages returns, got {type(chart)}")
        return self._add(
            "chart", Markup("{}{}").format(chart, Markup('<p class="note">{}</p>').format(note) if note else "")
        )

    def code(self, code: str, caption: str = "") -> Self:
        """Commands or log lines, in a box that scrolls."""
        return self._block("code.html", "code", code=code, caption=caption)

    def html(self, html: Markup) -> Self:
        """Trusted markup of your own; escape what users gave with `Markup(...).format(...)`."""
        if not isinstance(html, Markup):
            raise TypeError("html: expected markupsafe.Markup; plain text belongs into text()")
        return self._add("html", html)

    def render(self) -> str:
        """The whole file, at most `LIMIT_BYTES`: the largest blocks are left out, and named, until it fits."""
        blocks = list(self._blocks)
        while True:
            page = self._page(blocks)
            if len(page.encode()) <= LIMIT_BYTES:
                return page
            largest = max(range(len(blocks)), key=lambda i: len(blocks[i].html))
            if len(blocks[largest].html) < 2000:
                raise ValueError(f"report {self.title!r}: {len(blocks)} blocks do not fit into {LIMIT_BYTES:,} bytes")
            blocks[largest] = self._left_out(blocks[largest])

    def write(self, path: str | Path) -> None:
        """Renders into a file (an `Output[HTML]`'s path)."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(self.render(), encoding="utf-8")

    def _page(self, blocks: Sequence[_Block]) -> str:
        css, script = _asset("report.css"), _asset("report.js")
        # A policy inside the page: even markup that slipped through could load and run nothing.
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        page: str = _template("page.html").render(
            title=self.title,
            subtitle=self.subtitle,
            blocks=[block.html for block in blocks],
            css=Markup(css),
            script=Markup(script),
            script_hash=digest,
            version=VERSION,
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        return page

    def _block(self, template: str, what: str, **values: Any) -> Self:
        return self._add(what, Markup(_template(template).render(**values)))

    def _add(self, what: str, html: Markup) -> Self:
        self._blocks.append(_Block(what, html))
        return self

    @staticmethod
    def _left_out(block: _Block) -> _Block:
        size = f"{len(block.html) / 1000:,.0f} KB"
        return _Block(
            block.what,
            Markup(
                _template("callout.html").render(
                    tone="warn",
                    title=f"Left out: {block.what}",
                    text=f"{size}; a report must stay below {LIMIT_BYTES // 1_000_000} MB.",
                )
            ),
        )


def _value(value: object) -> object:
    if isinstance(value, Markup):
        return value
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return number(value)


def _cell(cell: object) -> dict[str, object]:
    """Text, sort key (None: the text itself) and whether the cell fits into a column of numbers."""
    if isinstance(cell, tuple) and len(cell) == 2:
        shown, key = cell
    else:
        shown, key = cell, cell if isinstance(cell, int | float) else None
    numeric = isinstance(key, int | float) and not isinstance(key, bool)
    return {"text": _value(shown), "key": key, "numeric": numeric or shown is None}


@cache
def _asset(name: str) -> str:
    return files("shipway.pages").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("shipway.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["value"] = _value
    return environment.get_template(name)
