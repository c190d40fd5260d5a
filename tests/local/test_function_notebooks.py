"""The notebooks about functions of one's own run from their first cell to their last, and leave nothing running."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """All that a notebook showed."""
    import nbformat
    from nbclient import NotebookClient

    for variable in ("SHIPWAY_STORE", "SHIPWAY_RUN", "AWS_ENDPOINT_URL"):  # its own embedded store
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SHIPWAY_HOME", str(folder / ".shipway"))
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    try:
        NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(folder)}}).execute()
    finally:
        subprocess.run([sys.executable, "-m", "shipway", "down"], check=False, capture_output=True)
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    data = [text for output in shown for text in output.get("data", {}).values()]
    return "\n".join([*data, *(output.get("text", "") for output in shown)])


@pytest.mark.heavy
@pytest.mark.slow
def test_the_notebook_of_a_sweep_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("sweep.ipynb", tmp_path, monkeypatch)
    assert "Sweep of train: best accuracy=0.9" in shown
    assert "of 6)" in shown
    assert "<iframe sandbox" in shown
    assert "class Digits:" in shown
    assert "'python': '3.11" in shown
    assert "In [9]:5: peeks uses the global 'images', of type ndarray, which is no import" in shown
    assert "Stopped the object store." in shown


@pytest.mark.heavy
@pytest.mark.slow
def test_the_notebook_of_a_distributed_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("distributed.ipynb", tmp_path, monkeypatch)
    assert "multi_worker, 2 workers" in shown
    assert "'workers': 2.0" in shown
    assert "weights.index" in shown
    assert "'events'" in shown
    assert "Stopped the object store." in shown


@pytest.mark.parametrize("name", ["sweep.ipynb", "distributed.ipynb"])
def test_the_committed_notebooks_have_no_outputs(name: str) -> None:
    for cell in json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
