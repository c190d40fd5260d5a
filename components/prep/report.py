"""The dataset's report as one HTML file."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment

from shipway.artifacts import DatasetManifest


def render(manifest: DatasetManifest) -> str:
    """One self-contained page."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = files("shipway.components.prep").joinpath("templates", "dataset.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(m=manifest, s=manifest.statistics)
