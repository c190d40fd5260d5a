"""What a run's code leaves in a process goes with the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from shipway import modules


@pytest.fixture(autouse=True)
def no_code_stays() -> Iterator[None]:
    path = list(sys.path)
    yield
    modules.use_code("")
    assert sys.path == path
