"""Self-contained HTML reports: one file, no network, light and dark, below 1 MB (docs/reports.md)."""

from __future__ import annotations

from shipway.pages.charts import bars, columns, lines, scatter
from shipway.pages.matrix import confusion_matrix, heatmap
from shipway.pages.numbers import bytes_text, change, duration, figure, inline, number, percent
from shipway.pages.page import LIMIT_BYTES, Report
from shipway.pages.parallel import parallel_coordinates

__all__ = [
    "LIMIT_BYTES",
    "Report",
    "bars",
    "bytes_text",
    "change",
    "columns",
    "confusion_matrix",
    "duration",
    "figure",
    "heatmap",
    "inline",
    "lines",
    "number",
    "parallel_coordinates",
    "percent",
    "scatter",
]
