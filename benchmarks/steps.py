"""What a step of `shipway run --local` costs more than one of bare kfp.local: ten trivial steps, the store up."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PIPELINE = Path(__file__).parent / "pipelines" / "ten_steps.py"
STEPS = 10
PAIRS = 5
GOAL_S = 0.1

BARE = f"""
import sys; sys.path.insert(0, {str(PIPELINE.parent)!r})
from kfp import local
from ten_steps import ten_steps
local.init(local.SubprocessRunner(use_venv=False), pipeline_root='root')
ten_steps(start=int(sys.argv[1]))
"""


def seconds(command: list[str], environment: dict[str, str], folder: str) -> float:
    """Wall seconds of a command that must succeed."""
    began = time.perf_counter()
    subprocess.run(
        command, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def main() -> dict[str, Any]:
    """The benchmark's line."""
    cli = str(Path(sys.executable).with_name("shipway"))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SHIPWAY_HOME": f"{folder}/home"}
        environment.pop("SHIPWAY_STORE", None)
        subprocess.run([cli, "store", "start"], env=environment, check=True, stdout=subprocess.DEVNULL)
        try:
            pairs = []
            for pair in range(PAIRS + 1):
                ours = seconds(
                    [cli, "run", f"{PIPELINE}:ten_steps", "--local", "--param", f"start={pair}"], environment, folder
                )
                bare = seconds([sys.executable, "-c", BARE, str(pair)], environment, folder)
                pairs.append((ours, bare))
        finally:
            subprocess.run([cli, "down"], env=environment, check=True, stdout=subprocess.DEVNULL)
    pairs = pairs[1:]  # the first pair fills the page cache
    extra = statistics.median((ours - bare) / STEPS for ours, bare in pairs)
    return {
        "name": "steps",
        "ratio": round(statistics.median(ours / bare for ours, bare in pairs), 3),
        "goal": f"at most {GOAL_S} s more a step",
        "meets_goal": extra <= GOAL_S,
        "baseline": "bare kfp.local",
        "details": {
            "extra_s_per_step": round(extra, 4),
            "shipway_s": [round(ours, 2) for ours, _ in pairs],
            "kfp_local_s": [round(bare, 2) for _, bare in pairs],
        },
    }
