"""Heat maps: one path per shade, so that 150 x 150 cells stay a fraction of a megabyte."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from shipway.pages.numbers import number
from shipway.pages.svg import figure, shorten, text, width_of

SHADES = 8
NAME = 24  # characters of a class's name
MAX_CLASSES = 150


def confusion_matrix(counts: Any, labels: Sequence[str], *, title: str = "", limit: int = MAX_CLASSES) -> Markup:
    """Rows are true classes, columns predicted ones; shade = share of the true class.

    What is right (the diagonal) and what is wrong have their own colours. Above `limit` classes, the ones with the
    most errors are drawn.

    Args:
        counts: Anything of shape (n, n) with integer entries.
        labels: n class names, escaped.
        title: Above the chart.
        limit: Largest number of classes drawn.
    """
    table = [[int(v) for v in row] for row in counts]
    names, caption = list(labels), "Rows: true class. Columns: predicted. Shade: share of the true class."
    if len(names) > limit:
        wrong = [sum(table[i]) + sum(row[i] for row in table) - 2 * table[i][i] for i in range(len(names))]
        kept = sorted(sorted(range(len(names)), key=lambda i: -wrong[i])[:limit])
        caption += f" {limit} of {len(names)} classes: those with the most errors."
        table = [[table[i][j] for j in kept] for i in kept]
        names = [names[i] for i in kept]
    totals = [max(sum(row), 1) for row in table]
    shares = [[value / totals[i] for value in row] for i, row in enumerate(table)]
    return _grid(table, shares, names, names, title, caption, diagonal=True)


def heatmap(values: Any, rows: Sequence[str], columns: Sequence[str], *, title: str = "", caption: str = "") -> Markup:
    """Any table of numbers at or above 0 as shades; the largest is the darkest."""
    table = [[float(v) for v in row] for row in values]
    top = max((v for row in table for v in row if math.isfinite(v)), default=1.0) or 1.0
    shares = [[v / top if math.isfinite(v) else 0.0 for v in row] for row in table]
    return _grid(table, shares, list(rows), list(columns), title, caption, diagonal=False)


def _grid(
    table: Sequence[Sequence[float]],
    shares: Sequence[Sequence[float]],
    rows: list[str],
    columns: list[str],
    title: str,
    caption: str,
    *,
    diagonal: bool,
) -> Markup:
    most = max(len(rows), len(columns), 1)
    cell = max(5.0, min(34.0, math.floor(620 / most)))
    fits = cell >= 10
    left, top = (12 + (_widest(names) if fits else 0) for names in (rows, columns))
    parts = [Markup('<rect class="cells" x="{}" y="{}" width="{}" height="{}"/>').format(
        left, top, cell * len(columns), cell * len(rows)
    )]  # fmt: skip
    parts.extend(_shades(shares, left, top, cell, diagonal))
    if fits:
        size = f"font-size:{min(12, cell - 1)}px"
        for i, name in enumerate(rows):
            parts.append(_label(left - 6, top + cell * (i + 0.5), shorten(name, NAME), size, turned=False))
        for j, name in enumerate(columns):
            parts.append(_label(left + cell * (j + 0.5), top - 6, shorten(name, NAME), size, turned=True))
    if cell >= 24:
        parts.extend(_numbers(table, shares, left, top, cell))
    width, height = left + cell * len(columns) + 12, top + cell * len(rows) + 12
    drawn = figure(parts, width, height, title=title, caption=caption)
    # Which cell the pointer is over is worked out by report.js: a title per cell would be a megabyte.
    data = {"left": left, "top": top, "cell": cell, "rows": rows, "columns": columns, "values": _compact(table)}
    return Markup('<div class="matrix" data-matrix="{}">{}</div>').format(
        json.dumps(data, ensure_ascii=False, separators=(",", ":")), drawn
    )


def _widest(names: Sequence[str]) -> float:
    return max((width_of(shorten(name, NAME)) for name in names), default=7.0)


def _compact(table: Sequence[Sequence[float]]) -> list[list[float]]:
    """Each row as [column, value, column, value, ...] of what is not zero."""
    return [[n for j, v in enumerate(row) if v and math.isfinite(v) for n in (j, round(v, 4))] for row in table]


def _shades(shares: Sequence[Sequence[float]], left: float, top: float, cell: float, diagonal: bool) -> list[Markup]:
    paths: dict[tuple[str, int], list[str]] = {}
    size = cell - 1 if cell >= 8 else cell
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if share <= 0:
                continue
            # Square root: a few per cent of errors must be seen beside a diagonal near 100 %.
            shade = min(SHADES, 1 + int(math.sqrt(share) * SHADES - 1e-9))
            kind = "wrong" if diagonal and i != j else "right"
            paths.setdefault((kind, shade), []).append(
                f"M{left + j * cell:g} {top + i * cell:g}h{size:g}v{size:g}h-{size:g}z"
            )
    return [
        Markup('<path class="{} q{}" d="{}"/>').format(kind, shade, "".join(cells))
        for (kind, shade), cells in sorted(paths.items())
    ]


def _label(x: float, y: float, name: str, size: str, *, turned: bool) -> Markup:
    transform = Markup(' transform="rotate(-90 {} {})"').format(round(x, 1), round(y, 1)) if turned else ""
    return Markup('<text x="{}" y="{}" text-anchor="{}" dominant-baseline="central" style="{}"{}>{}</text>').format(
        round(x, 1), round(y, 1), "start" if turned else "end", size, transform, name
    )


def _numbers(
    table: Sequence[Sequence[float]], shares: Sequence[Sequence[float]], left: float, top: float, cell: float
) -> list[Markup]:
    parts = []
    for i, row in enumerate(table):
        y = top + cell * (i + 0.5) + 4
        for j, value in enumerate(row):
            if value and math.isfinite(value):
                kind = "cell on" if math.sqrt(shares[i][j]) > 0.62 else "cell"
                parts.append(text(left + cell * (j + 0.48), y, number(value, 2), anchor="middle", kind=kind))
    return parts


__all__ = ["MAX_CLASSES", "confusion_matrix", "heatmap"]
