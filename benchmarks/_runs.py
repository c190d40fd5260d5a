"""Runs as a person types them, in a home of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def train_and_deploy(folder: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """What `--json` says of the run.

    Raises:
        RuntimeError: it was not evaluated.
    """
    pairs = [f"{key}={value}" for key, value in params.items()]
    done = shipway(folder, "run", "train_and_deploy", "--local", "--json", "--param", *pairs)
    run: dict[str, Any] = json.loads(done.stdout or "{}")
    if not run.get("evaluation"):
        raise RuntimeError(f"{params['name']}: the run gave no evaluation: {done.stderr.strip()[-500:]}")
    return run


def shipway(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `shipway` command whose home lies in `folder`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPWAY_", "AWS_"))}
    return subprocess.run(
        [str(Path(sys.executable).with_name("shipway")), *arguments],
        env={**environment, "SHIPWAY_HOME": f"{folder}/home"}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
