"""A Kubernetes with the operators that Shipway meets, on one machine, without Docker: for tests only.

`python -m tests.cluster.bed up` starts it, `down` leaves nothing behind; see docs/cluster-bed.md.
"""

from tests.cluster.bed.bed import Bed, find, up
from tests.cluster.bed.errors import BedError, MissingPrerequisite
from tests.cluster.bed.teardown import down

__all__ = ["Bed", "BedError", "MissingPrerequisite", "down", "find", "up"]
