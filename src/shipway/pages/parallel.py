"""Parallel coordinates: every trial of a sweep as one line over its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from shipway.pages.numbers import number
from shipway.pages.svg import Scale, figure, shorten, text

LEVELS = 5
HEIGHT = 300


def parallel_coordinates(
    rows: Sequence[Mapping[str, Any]],
    axes: Sequence[str],
    objective: str,
    *,
    maximize: bool = True,
    title: str = "",
) -> Markup:
    """One line per row across `axes` and the objective; the better, the stronger; the best, the first of equals, stands
    out.

    Args:
        rows: Mappings that hold the axes' keys and the objective (rows without a finite objective are left out).
        axes: Parameter names, left to right; numbers get a scale (logarithmic over two decades), the rest categories.
        objective: The last axis, a number.
        maximize: Whether a higher objective is better.
        title: Above the chart.
    """
    kept = [row for row in rows if _finite(row.get(objective))]
    if not kept:
        return Markup('<p class="note">No finished trial to draw.</p>')
    names = [axis for axis in axes if len({repr(row.get(axis)) for row in kept}) > 1] + [objective]
    width = max(912, 120 * len(names))
    scales = {name: _axis([row.get(name) for row in kept]) for name in names}
    spots = {name: 70 + (width - 140) * (i / max(len(names) - 1, 1)) for i, name in enumerate(names)}
    # The best is drawn last, and of equals the first.
    sign = 1 if maximize else -1
    places = sorted(range(len(kept)), key=lambda place: (sign * float(kept[place][objective]), -place))
    order = [kept[place] for place in places]
    parts: list[Markup] = []
    for rank, row in enumerate(order):
        level = "best" if rank == len(order) - 1 else f"p{1 + rank * LEVELS // len(order)}"
        path = "".join(
            f"{'M' if i == 0 else 'L'}{spots[name]:.1f} {_height(scales[name], row.get(name))}"
            for i, name in enumerate(names)
        )
        tip = ", ".join(f"{name} {number(row.get(name))}" for name in names)
        parts.append(Markup('<path class="trial {}" d="{}"><title>{}</title></path>').format(level, path, tip))
    for name in names:
        parts.extend(_draw_axis(name, spots[name], scales[name]))
    return figure(parts, width, HEIGHT, title=title, caption=_caption(axes, names))


def _caption(axes: Sequence[str], drawn: Sequence[str]) -> str:
    same = [axis for axis in axes if axis not in drawn]
    return "The best trial is drawn strongest." + (f" The same in every trial: {', '.join(same)}." if same else "")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


Axis = Scale | list[str]


def _axis(values: Sequence[Any]) -> Axis:
    if all(_finite(v) and not isinstance(v, bool) for v in values):
        low, high = float(min(values)), float(max(values))
        return Scale(low, high, HEIGHT - 36, 48, log=low > 0 and high / low >= 100)
    return sorted({str(v) for v in values})


def _height(axis: Axis, value: Any) -> float:
    if isinstance(axis, Scale):
        return axis(float(value))
    return Scale(0, len(axis) - 1, HEIGHT - 36, 48)(axis.index(str(value)))


def _draw_axis(name: str, x: float, axis: Axis) -> list[Markup]:
    parts = [
        Markup('<line class="axis" x1="{0}" x2="{0}" y1="48" y2="{1}"/>').format(round(x, 1), HEIGHT - 36),
        text(x, 26, shorten(name, 18), anchor="middle", kind="name"),
    ]
    if isinstance(axis, Scale):
        marks = [(axis(tick), number(tick, 3)) for tick in _ends(axis)]
    else:
        marks = [(_height(axis, value), shorten(value, 14)) for value in axis[:12]]
    parts.extend(text(x + 6, y + 4, label, kind="tick halo") for y, label in marks)
    return parts


def _ends(axis: Scale) -> list[float]:
    """The axis' ends and its round ticks, without those that would touch an end's label."""
    inner = [t for t in axis.ticks(4) if min(abs(axis(t) - axis.start), abs(axis(t) - axis.end)) > 16]
    return [axis.low, *inner, axis.high]
