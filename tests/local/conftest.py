"""Where commands are typed: what the tests of bad input share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from shipway.storage import embedded
from shipway.storage.server import ServerInfo
from tests.fixtures.bad_input import Place, odd_site


@pytest.fixture(scope="module")
def place(embedded_store: ServerInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPWAY_", "AWS_", "NO_COLOR"))}
    environment = {
        **kept,
        **embedded.environment(embedded_store),
        "SHIPWAY_HOME": str(tmp_path_factory.mktemp("home")),
        "SHIPWAY_STORE": f"s3://shipway/bad-{uuid.uuid4().hex[:12]}",
    }
    with odd_site() as site:
        yield Place(environment, site)
