"""The environment of an MPI rank."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from shipway import images

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
        name, found, value = os.fsdecode(variable).partition("=")
        if found:
            environment.setdefault(name, value)
