"""Free ports on this machine for replicas that find each other by TF_CONFIG."""

from __future__ import annotations

import random
import socket

# Below Linux's ephemeral range (32768-60999), so that no outgoing connection takes a port between choice and use.
FIRST, LAST = 20000, 32000


def is_free(port: int) -> bool:
    """Whether a server could bind the port on every address now; a socket in TIME_WAIT doesn't count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Different free ports, by chance, so that two supervisors seldom choose the same."""
    chosen: list[int] = []
    # Not seeded by anything a replica or a test seeds: two jobs with one seed must not share ports.
    for port in random.SystemRandom().sample(range(FIRST, LAST), LAST - FIRST):
        if is_free(port):
            chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise OSError(f"no {count} free ports between {FIRST} and {LAST}")
