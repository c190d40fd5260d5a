"""What the charts share: scales, round ticks, frames. Colours are classes, so that both themes fit one SVG."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

# Widths of characters at the charts' 12 px, in SVG units; of the widest of the page's fonts, since what is cut is lost.
_NARROW, _USUAL, _CAPITAL, _BROAD = 5.0, 7.7, 8.9, 12.5


@dataclass(frozen=True)
class Scale:
    """Maps data to SVG units; logarithmic where `log` (then low > 0)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (
            self.low, self.high, value
        )  # fmt: skip
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside the domain: 1, 2, 5 times a power of ten; whole powers on a logarithmic scale."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            powers = [10.0**p for p in range(first, last + 1)]
            return powers if len(powers) >= 2 else [self.low, self.high]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        rough = span / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def domain(values: Sequence[float], *, zero: bool = False, margin: float = 0.05) -> tuple[float, float]:
    """Lowest and highest finite value with some air; from 0 where `zero`."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if zero:
        return min(low, 0.0), max(high, 0.0) * 1.02 or 1.0
    if low == high:
        return low - (abs(low) * 0.05 or 1.0), high + (abs(high) * 0.05 or 1.0)
    air = (high - low) * margin
    return low - air, high + air


def width_of(text: str) -> float:
    """How wide a text is drawn at most, about."""
    return sum(map(_advance, text))


def _advance(character: str) -> float:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    if character in "mwMW@%" or unicodedata.east_asian_width(character) in "WF":
        return _BROAD
    if character in " ijlrtfI.,:;!'|()[]/":
        return _NARROW
    return _CAPITAL if character.isupper() else _USUAL


def shorten(text: object, characters: int) -> str:
    """The text, cut with an ellipsis."""
    plain = " ".join(str(text).split())
    return plain if len(plain) <= characters else plain[: max(characters - 1, 1)] + "…"


def text(x: float, y: float, content: object, *, anchor: str = "start", kind: str = "") -> Markup:
    """A text element; the content is escaped."""
    return Markup('<text x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(
        round(x, 1), round(y, 1), anchor, Markup(' class="{}"').format(kind) if kind else "", content
    )


def figure(parts: Sequence[Markup], width: float, height: float, *, title: str = "", caption: str = "") -> Markup:
    """The SVG in a figure that scrolls sideways where the page is narrow."""
    return Markup(
        '<figure class="chart">{}<div class="scroll"><svg viewBox="0 0 {} {}" role="img" aria-label="{}" '
        'style="max-width:{}px;min-width:{}px">{}</svg></div>{}</figure>'
    ).format(
        Markup("<figcaption>{}</figcaption>").format(title) if title else "",
        round(width),
        round(height),
        title or "chart",
        round(width),
        round(min(width, 560)),
        Markup("").join(parts),
        Markup('<p class="note">{}</p>').format(caption) if caption else "",
    )


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """A line of swatches: (class of the series, its name)."""
    items = [Markup('<span><i class="swatch {}"></i>{}</span>').format(kind, name) for kind, name in entries]
    return Markup('<p class="legend">{}</p>').format(Markup("").join(items))


__all__ = ["Markup", "Scale", "domain", "escape", "figure", "legend", "shorten", "text", "width_of"]
