"""Numbers as a person reads them; reports and the command line share these."""

from __future__ import annotations

import math


def percent(share: float | None, digits: int = 1) -> str:
    """`0.934` -> `93.4 %`; None or NaN -> `–`."""
    if share is None or not math.isfinite(share):
        return "–"
    return f"{share * 100:.{digits}f} %"


def number(value: object, digits: int = 4) -> str:
    """Integers with thousands separators, floats with `digits` significant digits, anything else as text."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def figure(value: float | None, is_share: bool) -> str:
    """A metric: a share as a percentage, anything else as a number."""
    return percent(value) if is_share else number(value)


def inline(title: str) -> str:
    """A metric's title as a column's heading or among other words: `Macro F1` -> `macro F1`, `MAE` -> `MAE`."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def change(value: float, is_share: bool) -> str:
    """A difference of metrics: `+1.23 points` of shares, `+0.034` of anything else."""
    return f"{value * 100:+.2f} points" if is_share else f"{value:+.4g}"


def duration(seconds: float | None) -> str:
    """`0.4` -> `0.4 s`, `95` -> `1 min 35 s`, `7300` -> `2 h 1 min`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def bytes_text(size: float | None) -> str:
    """`1536` -> `1.5 KiB`."""
    if size is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
