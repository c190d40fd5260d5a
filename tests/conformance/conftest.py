"""The executors that each conformance test of executors runs against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.executor_rigs import ProcessRig, Rig


@pytest.fixture(params=["process"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """An executor with nothing in it; whatever a test leaves running is ended."""
    made = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    yield made
    made.close()
