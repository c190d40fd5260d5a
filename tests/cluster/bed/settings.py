"""Addresses, versions and folders of the test bed, all in one place."""

from __future__ import annotations

import os
from pathlib import Path

KUBERNETES = "1.34.4"
TRAINING_OPERATOR = "1.8.1"
MPI_OPERATOR = "0.6.0"
KSERVE = "0.15.0"
DEBIAN = "bookworm"

# An alias on `lo`: this machine and its pods reach it, nobody outside does; 127.0.0.1 would be another one in each pod.
HOST = "10.250.0.1"
API_PORT = 16443
ETCD_PORT = 12379
ETCD_PEER_PORT = 12380
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
POD_CIDR = "10.244.0.0/24"
FAKE_POD_CIDR = "10.245.0.0/16"
NODE = "bed"
NETWORK = "shipway-bed"  # names CNI's results, so that ours are known from others'

CACHE_VARIABLE = "SHIPWAY_CLUSTER_CACHE"
STATE_VARIABLE = "SHIPWAY_CLUSTER_STATE"
# In the environment of every process of the bed and of all they start: what has it is ended by `down`.
MARK = "SHIPWAY_BED"
LOCK = Path("/run/lock/shipway-bed.lock")  # held while the bed is changed
USERS = Path("/run/lock/shipway-bed.users")  # shared by all who use it; `down` wants it for itself

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / "tools"


def cache() -> Path:
    """Where binaries and images are kept between beds: outside the tree, shared by all checkouts of this user."""
    given = os.environ.get(CACHE_VARIABLE)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given).absolute() if given else base / "shipway" / "cluster"


def state() -> Path:
    """What the running bed has written; one bed a machine, so one folder a machine."""
    return Path(os.environ.get(STATE_VARIABLE) or "/var/lib/shipway-bed").absolute()


def kubeconfig(user: str = "admin") -> Path:
    """The kubeconfig of a user of the bed."""
    return state() / "users" / f"{user}.kubeconfig"
