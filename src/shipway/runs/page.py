"""A report as a notebook shows it."""

from __future__ import annotations

import html


class Page(str):
    """HTML of a report: a str, which a notebook draws in a frame of its own, cut off from the notebook's page."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        style = "width:100%;height:480px;border:0"
        return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{html.escape(self)}"></iframe>'
