"""The executors that each conformance test of executors runs against: `--rig kubernetes` asks for the test bed's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.executor_rigs import ProcessRig, Rig


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """An executor with nothing in it; whatever a test leaves running is ended."""
    if request.config.getoption("--rig") == "process":
        made = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
        yield made
        made.close()
        return
    if (marker := request.node.get_closest_marker("process_only")) is not None:
        pytest.skip(marker.args[0])
    from tests.fixtures.kubernetes_rig import KubernetesRig

    on_bed = KubernetesRig(request.getfixturevalue("namespace"), f"file://{tmp_path}/store", tmp_path / "home")
    yield on_bed
    on_bed.close()
