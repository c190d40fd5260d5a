"""Kill -9 at any moment: batches and steps are those of the undisturbed training."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.fixtures.tiny_model import PARAMS, Tiny, document

LOOPS = int(os.environ.get("SHIPWAY_LOOPS", "20"))


@pytest.mark.soak
@pytest.mark.heavy
@pytest.mark.timeout(7000)
def test_a_training_killed_at_any_moment_takes_the_same_steps_on_the_same_batches(tiny: Tiny, store_uri: str) -> None:
    one = {**PARAMS, "members": 1}  # half of the tracing; test_train_strategies.py kills a whole committee
    steps = {"steps": 24, "checkpoint_steps": 4, "batch_size": 16}
    training = document(tiny.dataset, f"{store_uri}/jobs/kill", params=one, **steps)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.kill_loop"],
        env={**os.environ, "SHIPWAY_TRAINING": json.dumps(training), "KILL_LOOPS": str(LOOPS)},
        capture_output=True,
        text=True,
        timeout=6900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    calm, *killed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert calm["steps"] == list(range(1, 25))
    assert killed
    assert [run for run in killed if not run["same"]] == []
    assert sum(run["struck"] for run in killed) >= LOOPS // 2, "hardly any kill struck"
