"""All tests here are fuzz tests: `SHIPWAY_FUZZ_S=60 python -m pytest tests/fuzz` looks for a minute at each."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fuzz)
