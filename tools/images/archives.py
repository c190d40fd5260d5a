"""Images as files, for a machine without a registry: `ctr images import`, `docker load`."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tools.images.builds import build
from tools.images.engines import engine
from tools.images.settings import STAND_IN, base, check_name, inputs_hash, reference

VARIABLE = "SHIPWAY_IMAGE_ARCHIVES"


def archive(name: str, given_base: str | None = None) -> Path:
    """A docker-archive of the image as the tree would build it now; made once per content, kept outside the tree.

    Args:
        name: launcher, tensorflow, horovod or predictor.
        given_base: As for `build`; None: as configured, else the local stand-in.

    Returns:
        `<cache>/<name>-<hash>.tar`; the image in it goes by `reference(name)`. The cache is $SHIPWAY_IMAGE_ARCHIVES,
        by default `~/.cache/shipway/images`; older archives of the same image are removed.
    """
    check_name(name)
    used = engine()
    chosen = given_base or (STAND_IN if used.has(STAND_IN) and not os.environ.get("BASE") else base())
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shipway" / "images"
    folder = Path(os.environ.get(VARIABLE, default))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}-{inputs_hash(chosen)[:16]}.tar"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            build(name, given_base=chosen, with_engine=used)
            part = target.with_suffix(".part")
            part.unlink(missing_ok=True)
            used.save(reference(name), part)
            for old in folder.glob(f"{name}-*.tar"):
                old.unlink()
            part.replace(target)
    return target
