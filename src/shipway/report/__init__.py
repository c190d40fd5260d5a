"""Self-contained HTML reports: one file, no network, light and dark, below 1 MB (docs/reports.md)."""

from __future__ import annotations

from shipway.report.charts import bars, columns, lines, scatter
from shipway.report.matrix import confusion_matrix, heatmap
from shipway.report.numbers import bytes_text, change, duration, figure, inline, number, percent
from shipway.report.page import LIMIT_BYTES, Report
from shipway.report.parallel import parallel_coordinates

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
