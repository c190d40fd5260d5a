"""Image references; the tag is the package's version, so that a pipeline runs the code it was compiled from."""

from __future__ import annotations

import os

VERSION = "0.1.0"
REGISTRY = os.environ.get("SHIPWAY_REGISTRY", "ghcr.io/shipway")

# Names hold "python" because kfp.local warns about any image whose name doesn't.
LAUNCHER = f"{REGISTRY}/python-launcher:{VERSION}"
TENSORFLOW = f"{REGISTRY}/python-tensorflow:{VERSION}"
HOROVOD = f"{REGISTRY}/python-horovod:{VERSION}"
PREDICTOR = f"{REGISTRY}/python-predictor:{VERSION}"

ALL = {"launcher": LAUNCHER, "tensorflow": TENSORFLOW, "horovod": HOROVOD, "predictor": PREDICTOR}
