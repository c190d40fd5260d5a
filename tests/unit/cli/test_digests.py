"""--digest and --digests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shipway.cli.kubeflow import read_digests
from shipway.errors import InvalidSpec

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_a_single_digest_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "digests.json"
    file.write_text(json.dumps({"launcher": A, "tensorflow": A}))
    assert read_digests([f"launcher={B}"], file) == {"launcher": B, "tensorflow": A}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; `make images` writes"),
        ("launcher=sha256:1", "not JSON"),
        ('["launcher"]', "expected an object such as"),
        ('{"launcher": 1}', "expected an object such as"),
    ],
)
def test_a_file_that_holds_no_digests_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "digests.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidSpec, match=message):
        read_digests([], file)
