"""Which worker of its job a process is, and what it may use, by its environment. Imports no framework."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from pathlib import Path

from shipway import images, machine
from shipway.errors import InvalidSpec
from shipway.training.order import ALONE, Share

RANK = "OMPI_COMM_WORLD_RANK"


def adopt_container_environment(
    environment: MutableMapping[str, str] = os.environ, left: Path = Path(images.SSH_ENVIRONMENT)
) -> None:
    """Completes a rank's environment by that of its container.

    A rank that is started over ssh (MPIJob v2beta1) has only what sshd's session and `mpirun -x` give it: neither the
    storage's credentials, which must not pass through mpirun's command, nor the name of its own replica. `kubectl exec`
    (v1) and the process executor give all of it. What is set already stays.

    Args:
        environment: Of this process.
        left: Where the container's command left its own: `name=value`, each ended by NUL.
    """
    if RANK not in environment or "SHIPWAY_REPLICA" in environment:
        return
    try:
        variables = left.read_bytes().split(b"\0")
    except OSError:
        return  # nobody started an sshd for us here
    for variable in variables:
        name, separator, value = os.fsdecode(variable).partition("=")
        if separator:
            environment.setdefault(name, value)


def threads_of_this_process() -> int:
    """As many as a sweep left to this trial, or else as this machine or this container's limit has cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return max(1, int(machine.cpu_limit()))


def place_in_cluster() -> tuple[dict[str, list[str]], str, int]:
    """What TF_CONFIG says: addresses by role, this process' role, its number there.

    Raises:
        InvalidSpec: it names no cluster.
    """
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    if not config.get("cluster"):
        raise InvalidSpec("names no cluster; the job needs at least 2 workers", field="TF_CONFIG")
    return config["cluster"], config["task"]["type"], int(config["task"]["index"])


def share_of_this_process() -> Share:
    """Which worker of the job this is, from what the operator set: TF_CONFIG, or mpirun's environment."""
    if RANK in os.environ:
        return Share(int(os.environ[RANK]), int(os.environ["OMPI_COMM_WORLD_SIZE"]))
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    cluster, task = config.get("cluster", {}), config.get("task", {})
    chiefs, workers = len(cluster.get("chief", [])), len(cluster.get("worker", []))
    if chiefs + workers < 2:
        return ALONE
    return Share(int(task["index"]) + (chiefs if task["type"] == "worker" else 0), chiefs + workers)
