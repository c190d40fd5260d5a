"""What is kept of an endpoint."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from shipway.executors.process.service_state import EndpointState


def test_the_state_is_its_users_alone_whoever_writes_it(tmp_path: Path) -> None:
    before = os.umask(0)  # a command's own process has the person's umask
    try:
        EndpointState("toy").write(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    assert EndpointState.read(tmp_path) == EndpointState("toy")
