"""Releases of one name at once: no champion is replaced by a model that was not compared with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shipway.artifacts import DecisionRecord, StepRecord
from tests.local.test_endpoints import ROOT, until
from tests.local.test_rollout import House, house

pytestmark = pytest.mark.heavy
assert house  # the fixture

BAD, MIDDLE, GOOD = 0, 1, 2


@dataclass
class Releases:
    """Starts releases of the house's models, each in a process and a run of its own."""

    house: House
    root: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, run: str, model: int, where: str = "-") -> subprocess.Popen[str]:
        folder = self.root / run
        folder.mkdir(exist_ok=True)
        manifest, evaluation = self.house.models[model]
        manifest.write(folder / "model.json")
        evaluation.write(folder / "evaluation.json")
        given = [folder, folder / "model.json", self.root / "dataset" / "manifest.json", folder / "evaluation.json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fixtures.releasing", *map(str, given), where],
            env={**os.environ, "SHIPWAY_RUN": run},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def judged(self, run: str, model: int) -> subprocess.Popen[str]:
        """A release that has judged and waits before it goes on."""
        process = self.start(run, model, "judged")
        until((self.root / run / "judged").exists, 120)
        return process

    def go(self, run: str) -> None:
        (self.root / run / "go").touch()

    def decision(self, run: str) -> DecisionRecord:
        return DecisionRecord.read(self.root / run / "record.out")


@pytest.fixture
def releases(house: House, tmp_path: Path) -> Releases:
    return Releases(house, tmp_path)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and last word."""
    told, _ = process.communicate(timeout=240)
    found = re.findall(r"^released (.*)$", told, re.MULTILINE)
    return process.returncode, found[-1] if found else told


def test_a_worse_model_that_was_judged_before_there_was_a_champion_is_judged_again(releases: Releases) -> None:
    good, bad = releases.judged("good", GOOD), releases.judged("bad", BAD)
    assert [(releases.root / run / "judged").read_text() for run in ("good", "bad")] == ["blessed", "blessed"]
    releases.go("good")
    assert ended(good) == (0, "blessed 3")
    releases.go("bad")
    assert ended(bad) == (0, "rejected 0")
    again = releases.decision("bad")
    assert (again.decision, again.champion_version, again.champion_sequence) == ("rejected", 3, 1)
    registry = releases.house.registry
    assert (releases.house.served(), releases.house.running(), registry.alias("toy", "champion")) == ("3", ["toy"], 3)
    kept = registry.decision(registry.get("toy", 1))
    assert kept is not None
    assert kept.decision == "rejected"
    step = StepRecord.from_json(registry.store.get("runs/bad/steps/release.json"))
    assert [(part.role, part.state) for part in step.parts] == [
        ("gate", "Succeeded"), ("register", "Skipped"), ("deploy", "Skipped"),
    ]  # fmt: skip


def test_a_better_model_that_was_judged_before_there_was_a_champion_is_compared_and_takes_over(
    releases: Releases,
) -> None:
    good, bad = releases.judged("good", GOOD), releases.judged("bad", BAD)
    releases.go("bad")
    assert ended(bad) == (0, "blessed 1")
    releases.go("good")
    assert ended(good) == (0, "blessed 3")
    assert releases.decision("good").champion_version == 1
    assert "of the champion (version 1)" in releases.decision("good").reason
    assert [move.version for move in releases.house.registry.history("toy")] == [3, 1]
    assert (releases.house.served(), releases.house.running()) == ("3", ["toy"])


def test_two_releases_that_go_on_at_the_same_moment_leave_the_better_one_champion_and_served(
    releases: Releases,
) -> None:
    good, bad = releases.judged("good", GOOD), releases.judged("bad", BAD)
    releases.go("bad")
    releases.go("good")
    assert ended(good) == (0, "blessed 3")
    assert ended(bad)[0] == 0
    assert (releases.house.served(), releases.house.running()) == ("3", ["toy"])
    assert releases.house.registry.alias("toy", "champion") == 3


def test_a_champion_that_was_moved_away_and_back_is_met_again(releases: Releases) -> None:
    registry = releases.house.registry
    releases.house.deploy(1)
    middle = releases.judged("middle", MIDDLE)
    registry.promote("toy", 3)
    registry.rollback("toy")
    assert registry.alias("toy", "champion") == 1
    releases.go("middle")
    assert ended(middle) == (0, "blessed 2")
    assert releases.decision("middle").champion_sequence == 3
    assert [move.version for move in registry.history("toy")] == [2, 1, 3, 1]


@pytest.mark.parametrize("where", ["crowned", "taken"])
def test_a_release_killed_between_champion_and_endpoint_is_typed_again_and_ends_the_same(
    releases: Releases, where: str
) -> None:
    registry = releases.house.registry
    releases.house.deploy(1)
    assert ended(releases.start("good", GOOD, where))[0] == -9
    assert registry.alias("toy", "champion") == 3
    assert ended(releases.start("good", GOOD)) == (0, "blessed 3")
    assert [move.version for move in registry.history("toy")] == [3, 1]
    assert (releases.house.served(), releases.house.running()) == ("3", ["toy"])


def test_a_killed_release_whose_next_attempt_fails_leaves_no_champion_that_is_not_served(releases: Releases) -> None:
    registry = releases.house.registry
    releases.house.deploy(1)
    assert ended(releases.start("good", GOOD, "crowned"))[0] == -9
    assert registry.alias("toy", "champion") == 3
    onnx = Path(registry.get("toy", 3).model.uri.removeprefix("file://")) / "model.onnx"
    onnx.write_bytes(onnx.read_bytes()[:-1] + b"\0")
    shutil.rmtree(releases.house.context.home / "cache", ignore_errors=True)  # where evaluation left a verified copy
    code, told = ended(releases.start("good", GOOD))
    assert code == 1, told
    assert "error: " in told
    assert registry.alias("toy", "champion") == 1
    assert (releases.house.served(), releases.house.running()) == ("1", ["toy"])
