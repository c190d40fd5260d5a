"""The notebook that newcomers open runs from its first cell to its last, and leaves nothing running."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


@pytest.mark.heavy
@pytest.mark.slow
def test_the_quickstart_runs_from_its_first_cell_to_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    for name in ("SHIPWAY_STORE", "SHIPWAY_RUN", "AWS_ENDPOINT_URL"):  # its own embedded store, as a newcomer has it
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / ".shipway"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    try:
        NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    finally:
        _down()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pages = "".join(output.get("data", {}).get("text/html", "") for output in shown)
    assert "<b>train_and_deploy quickstart</b>: Succeeded in" in pages
    assert "run.endpoint.predict([...])" in pages
    assert "Succeeded" in pages
    assert "<iframe sandbox" in pages
    text = "".join(output.get("text", "") for output in shown)
    assert "Stopped endpoint quickstart." in text
    assert "Stopped the object store." in text


def _down() -> None:
    """A cell that failed must not leave the notebook's store and endpoint running."""
    import subprocess

    subprocess.run([sys.executable, "-m", "shipway", "down"], check=False, capture_output=True)


def test_the_committed_notebook_has_no_outputs() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
