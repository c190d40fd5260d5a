"""Image references; the tag is the package's version, so that a pipeline runs the code it was compiled from.

A pipeline compiled for a company's registry carries the references in the environment of its steps (SHIPWAY_IMAGES):
a step that renders a job or an endpoint names the same registry and digests as the steps themselves run from.
"""

from __future__ import annotations

import json
import os

from shipway.errors import InvalidSpec

VERSION = "0.1.0"
VARIABLE = "SHIPWAY_IMAGES"  # JSON: short name -> reference
REGISTRY = "ghcr.io/shipway"

# Where sshd of the horovod image, an ordinary user's process, looks for the keys of an MPIJob v2beta1, and its port.
SSH_AUTH, SSH_PORT = "/home/shipway/.ssh", 2222
# Where such a worker leaves its container's environment for the ranks that sshd starts: memory, its own user's alone.
SSH_ENVIRONMENT = "/dev/shm/shipway-environment"

# Names hold "python" because kfp.local warns about any image whose name doesn't.
DEFAULTS = {name: f"{REGISTRY}/python-{name}:{VERSION}" for name in ("launcher", "tensorflow", "horovod", "predictor")}


def references(text: str | None) -> dict[str, str]:
    """Short name -> reference: the package's own, and what SHIPWAY_IMAGES says in their place.

    Raises:
        InvalidSpec: not a JSON object of references, or an unknown name.
    """
    if not text:
        return dict(DEFAULTS)
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InvalidSpec(f"not JSON ({error}); `shipway compile --registry` writes it", field=VARIABLE) from error
    if not isinstance(given, dict) or not all(isinstance(value, str) and value for value in given.values()):
        raise InvalidSpec(f"{text!r:.80} is not an object of image references", field=VARIABLE)
    if unknown := sorted(set(given) - set(DEFAULTS)):
        raise InvalidSpec("unknown image", field=VARIABLE, given=unknown[0], allowed=DEFAULTS)
    return DEFAULTS | given


ALL = references(os.environ.get(VARIABLE))
LAUNCHER, TENSORFLOW, HOROVOD, PREDICTOR = (ALL[name] for name in ("launcher", "tensorflow", "horovod", "predictor"))
