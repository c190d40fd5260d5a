"""Corners of handing work out that a kill meets once in a hundred times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shipway.components.sweep.ledger import Ledger, Request
from shipway.components.sweep.nodes import Nodes
from shipway.components.sweep.packed import PackedTrials
from shipway.components.sweep.runners import Jobs
from shipway.errors import InvalidSpec, RetryableError, Superseded
from shipway.storage import open_folder

WISHES = "preferredDuringSchedulingIgnoredDuringExecution"


def test_a_request_that_was_never_handed_out_is_made_again_not_waited_for(tmp_path: Path) -> None:
    ledger = Ledger(open_folder(f"file://{tmp_path}"))
    executor: Any = None  # nothing may be started
    trials = PackedTrials("s", ledger, Jobs(executor), manifest=lambda name: {}, slots=2)
    asked = Request(3, 1, {"x": 1}, runner="s-w1-7")
    ledger.assign("s-w1-7", 0, {"number": 2, "attempt": 1})
    ledger.request(asked)
    assert not trials.resume(asked)
    assert trials.free == 2


def test_of_two_drivers_the_later_plays_and_the_earlier_begins_nothing_more(tmp_path: Path) -> None:
    ledger = Ledger(open_folder(f"file://{tmp_path}"))
    executor: Any = None
    first = PackedTrials("s", ledger, Jobs(executor), manifest=lambda name: {}, slots=1, engine="here-1")
    PackedTrials("s", ledger, Jobs(executor), manifest=lambda name: {}, slots=1, engine="there-2")
    with pytest.raises(Superseded, match="another driver, there-2, has taken this sweep over; this one ends"):
        first.start(Request(0, 1, {"x": 1}))
    assert list(ledger.store.list("trials/")) == []
    ledger.close_lease("here-1", "Failed", "it was superseded")
    assert (ledger.lease() or {}).get("engine") == "there-2"


def test_an_attempt_has_one_request_whoever_writes_it(tmp_path: Path) -> None:
    ledger = Ledger(open_folder(f"file://{tmp_path}"))
    ledger.request(Request(0, 1, {"x": 1}, runner="s-w0-1"))
    ledger.request(Request(0, 1, {"x": 1}, runner="s-w0-1"))  # the answer to the first was lost
    with pytest.raises(RetryableError, match="another driver began trial 0 at the same moment; run again"):
        ledger.request(Request(0, 1, {"x": 1}, runner="s-w1-1"))


def test_another_spec_under_a_sweeps_name_is_one_line(tmp_path: Path) -> None:
    ledger = Ledger(open_folder(f"file://{tmp_path}"))
    ledger.claim({"spec": {"maxTrialCount": 3}})
    ledger.claim({"spec": {"maxTrialCount": 3}})
    with pytest.raises(InvalidSpec, match=r"holds trials of another spec or dataset; run again with --fresh") as caught:
        ledger.claim({"spec": {"maxTrialCount": 4}})
    assert "\n" not in str(caught.value)


def test_a_node_on_which_the_runners_of_two_trials_died_is_avoided_by_the_next() -> None:
    nodes = Nodes()
    affinity = {"podAffinity": {}, "nodeAffinity": {WISHES: [{"weight": 1, "preference": {}}]}}
    pod = {"containers": [], "affinity": affinity}
    manifest = {"kind": "TFJob", "spec": {"tfReplicaSpecs": {"Chief": {"template": {"spec": pod}}}}}
    nodes.note("node-a", 3)
    nodes.note("node-a", 3)  # the same trial, which may be what kills it
    nodes.note("", 4)
    assert nodes.steered(manifest) == manifest
    nodes.note("node-a", 5)
    assert nodes.avoided == {"node-a": [3, 5]}
    steered = nodes.steered(manifest)["spec"]["tfReplicaSpecs"]["Chief"]["template"]["spec"]["affinity"]
    others = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-a"]}]}
    wishes = steered["nodeAffinity"].pop(WISHES)
    assert wishes == [{"weight": 1, "preference": {}}, {"weight": 100, "preference": others}]
    assert steered == {"podAffinity": {}, "nodeAffinity": {}}  # what was there stays
    assert len(affinity["nodeAffinity"][WISHES]) == 1
