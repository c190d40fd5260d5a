"""Bars, columns, lines and scatter as inline SVG that fits both themes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from shipway.pages.numbers import number
from shipway.pages.svg import Scale, domain, figure, legend, shorten, text, width_of

WIDTH = 912  # of the page's column
SERIES = 6  # distinct colours in report.css
Points = Sequence[tuple[float, float]]
Format = Callable[[float], str]


def bars(
    values: Mapping[str, float] | Sequence[tuple[str, float]],
    *,
    title: str = "",
    format: Format = number,
    highlight: Sequence[str] = (),
    intervals: Mapping[str, tuple[float, float]] | None = None,
    high: float | None = None,
    limit: int = 40,
) -> Markup:
    """Horizontal bars from zero, one row each, in the given order.

    Args:
        values: Label to value; labels are escaped.
        title: Above the chart.
        format: A value's text; `shipway.pages.percent` for shares.
        highlight: Labels drawn in the second colour; the others keep the first.
        intervals: Label to (low, high), drawn as a whisker.
        high: Upper end of the axis, 1.0 for shares; the largest value otherwise.
        limit: Rows drawn; how many were left out is said.
    """
    rows = list(values.items() if isinstance(values, Mapping) else values)
    shown = rows[:limit]
    ends = [v for _, v in shown] + [bound for pair in (intervals or {}).values() for bound in pair]
    left = 14 + max((width_of(shorten(label, 32)) for label, _ in shown), default=24)
    scale = Scale(*_bounds(ends, high), left, WIDTH - 90)
    parts = [Markup('<line class="axis" x1="{0}" x2="{0}" y1="4" y2="{1}"/>').format(scale(0), 8 + 26 * len(shown))]
    for index, (label, value) in enumerate(shown):
        y = 6 + 26 * index
        known = value if math.isfinite(value) else 0.0
        begin, end = sorted((scale(0), scale(known)))
        kind = "s2" if label in highlight else "s1"
        parts.append(text(left - 8, y + 15, shorten(label, 32), anchor="end"))
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="18" rx="2"><title>{}: {}</title></rect>').format(
                kind, begin, y + 1, max(round(end - begin, 1), 0.5), label, format(value)
            )
        )
        right = end
        if intervals and label in intervals:
            low_x, high_x = (scale(bound) for bound in intervals[label])
            right = max(end, high_x)
            parts.append(
                Markup('<path class="whisker" d="M{0} {2}H{1}M{0} {3}v8M{1} {3}v8"/>').format(
                    low_x, high_x, y + 10, y + 6
                )
            )
        parts.append(text(right + 6, y + 15, format(value), kind="value"))
    left_out = f"{len(rows) - limit} more are not drawn." if len(rows) > limit else ""
    return figure(parts, WIDTH, 12 + 26 * len(shown), title=title, caption=left_out)


def _bounds(values: Sequence[float], high: float | None) -> tuple[float, float]:
    low, top = domain(values, zero=True)
    return low, top if high is None else high


def columns(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    format: Format = number,
) -> Markup:
    """Vertical columns side by side, for histograms; every n-th label is written where they would touch."""
    height, left, bottom = 240, 56, 44
    low, high = domain(list(values), zero=True)
    y = Scale(low, high, height - bottom, 14)
    parts = _grid_y(y, left, format)
    slot = (WIDTH - left - 12) / max(len(values), 1)
    widest = max((width_of(shorten(label, 24)) for label in labels), default=8) + 8
    every = max(1, math.ceil(widest / slot))
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        x = left + index * slot
        top, base = sorted((y(value), y(0)))
        parts.append(
            Markup(
                '<rect class="s1" x="{}" y="{}" width="{}" height="{}" rx="1.5"><title>{}: {}</title></rect>'
            ).format(round(x + slot * 0.1, 1), top, round(slot * 0.8, 1), round(base - top, 1), label, format(value))
        )
        if index % every == 0:
            parts.append(text(x + slot / 2, height - bottom + 16, shorten(label, 24), anchor="middle", kind="tick"))
    parts.extend(_axis_names(x_label, y_label, left, height))
    return figure(parts, WIDTH, height, title=title)


def lines(
    series: Mapping[str, Points],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    points: Mapping[str, Points] | None = None,
    step: bool = False,
    log_x: bool = False,
    log_y: bool = False,
    format: Format = number,
    marks: Mapping[str, float] | None = None,
) -> Markup:
    """Lines over x, with a legend where there is more than one.

    Args:
        series: Name to (x, y) points, drawn as lines; not-finite points leave a gap.
        title: Above the chart.
        x_label: Below the x axis.
        y_label: Above the y axis.
        points: Name to (x, y) points, drawn as dots: the trials below a best-so-far line.
        step: Lines as steps: the value holds until the next point.
        log_x: Logarithmic x; values at or below 0 are left out.
        log_y: Logarithmic y.
        format: Text of a y value.
        marks: Name to an x value, drawn as a dashed vertical line (a chosen threshold).
    """
    curves = {name: _drawable(line_points, log_x, log_y) for name, line_points in series.items()}
    dots = {name: _drawable(line_points, log_x, log_y) for name, line_points in (points or {}).items()}
    every = [p for group in (*curves.values(), *dots.values()) for p in group if math.isfinite(p[1])]
    height, left, bottom = 280, 64, 46
    x = _scale([p[0] for p in every] + list((marks or {}).values()), left, WIDTH - 16, log_x, margin=0.0)
    y = _scale([p[1] for p in every], height - bottom, 24, log_y, margin=0.06)
    parts = _grid_y(y, left, format)
    is_counted = all(float(p[0]).is_integer() for p in every)  # trials, steps: none is half
    for tick in x.ticks(7):
        if is_counted and not tick.is_integer():
            continue
        parts.append(text(x(tick), height - bottom + 18, number(tick), anchor="middle", kind="tick"))
    names: list[tuple[str, str]] = []
    for index, (name, line_points) in enumerate(dots.items()):
        kind = f"s{(len(curves) + index) % SERIES + 1}"
        names.append((kind, name))
        for px, py in line_points:
            if math.isfinite(py):
                parts.append(
                    Markup('<circle class="dot {}" cx="{}" cy="{}" r="4"><title>{}: {}, {}</title></circle>').format(
                        kind, x(px), y(py), name, number(px), format(py)
                    )
                )
    for index, (name, line_points) in enumerate(curves.items()):
        kind = f"s{index % SERIES + 1}"
        names.append((kind, name))
        parts.append(Markup('<path class="line {}" d="{}"><title>{}</title></path>').format(
            kind, _path(line_points, x, y, step), name
        ))  # fmt: skip
    for name, value in (marks or {}).items():
        parts.append(
            Markup('<line class="mark" x1="{0}" x2="{0}" y1="24" y2="{1}"/>').format(x(value), height - bottom)
        )
        right = x(value) > WIDTH * 0.7
        parts.append(text(x(value) + (-6 if right else 6), 34, name, anchor="end" if right else "start", kind="value"))
    parts.extend(_axis_names(x_label, y_label, left, height))
    drawn = figure(parts, WIDTH, height, title=title)
    return drawn if len(names) < 2 else Markup("{}{}").format(drawn, legend(names))


def scatter(
    groups: Mapping[str, Points], *, title: str = "", x_label: str = "", y_label: str = "", log_x: bool = False,
    log_y: bool = False, format: Format = number,
) -> Markup:  # fmt: skip
    """Dots, one colour per group."""
    return lines(
        {}, points=groups, title=title, x_label=x_label, y_label=y_label, log_x=log_x, log_y=log_y, format=format
    )


def _drawable(points: Points, log_x: bool, log_y: bool) -> list[tuple[float, float]]:
    return [
        (px, py)
        for px, py in points
        if math.isfinite(px) and not (log_x and px <= 0) and not (log_y and not (math.isnan(py) or py > 0))
    ]


def _scale(values: Sequence[float], start: float, end: float, log: bool, margin: float) -> Scale:
    if log and values:
        low, high = min(values), max(values)
        return Scale(low, high if high > low else low * 10, start, end, log=True)
    return Scale(*domain(values, margin=margin), start, end)


def _path(points: Points, x: Scale, y: Scale, step: bool) -> str:
    path, pen_up = [], True
    for px, py in points:
        if not math.isfinite(py):
            pen_up = True
            continue
        if pen_up:
            path.append(f"M{x(px)} {y(py)}")
        else:
            path.append(f"H{x(px)}V{y(py)}" if step else f"L{x(px)} {y(py)}")
        pen_up = False
    return "".join(path)


def _grid_y(y: Scale, left: float, format: Format) -> list[Markup]:
    parts = []
    for tick in y.ticks():
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            left, WIDTH - 12, y(tick), y(tick)
        ))  # fmt: skip
        parts.append(text(left - 8, y(tick) + 4, format(tick), anchor="end", kind="tick"))
    return parts


def _axis_names(x_label: str, y_label: str, left: float, height: float) -> list[Markup]:
    return [
        *([text((left + WIDTH) / 2, height - 6, x_label, anchor="middle", kind="name")] if x_label else []),
        *([text(4, 12, y_label, kind="name")] if y_label else []),
    ]
