"""Corners of handing work out that a kill meets once in a hundred times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shipway.components.sweep.ledger import Ledger, Request
from shipway.components.sweep.packed import PackedTrials
from shipway.components.sweep.runners import Jobs
from shipway.storage import open_folder


def test_a_request_that_was_never_handed_out_is_made_again_not_waited_for(tmp_path: Path) -> None:
    ledger = Ledger(open_folder(f"file://{tmp_path}"))
    executor: Any = None  # nothing may be started
    trials = PackedTrials("s", ledger, Jobs(executor), manifest=lambda name: {}, slots=2)
    asked = Request(3, 1, {"x": 1}, runner="s-w1-7")
    ledger.assign("s-w1-7", 0, {"number": 2, "attempt": 1})
    ledger.request(asked)
    assert not trials.resume(asked)
    assert trials.free == 2
