"""Images as files, for a machine without a registry: `ctr images import`, `docker load`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from shipway import locks
from tools.images.builds import build
from tools.images.engines import engine
from tools.images.settings import ROOT, STAND_IN, check_name, inputs_hash, reference, settings

VARIABLE = "SHIPWAY_IMAGE_ARCHIVES"


def base_here() -> str:
    """$BASE, or what images/base.env pins, else the stand-in, which is made where it is not there (a minute)."""
    base = os.environ.get("BASE") or settings()["BASE"]
    if not base:
        with locks.alone(_folder() / "base.lock"):
            subprocess.run([ROOT / "tools/images/stand-in.sh"], check=True)
    return base or STAND_IN


def archive(name: str) -> Path:
    """A docker-archive of the image as the tree would build it now; made once per content, kept outside the tree.

    Args:
        name: launcher, tensorflow, horovod or predictor.

    Returns:
        `<cache>/<name>-<hash>.tar`; the image in it goes by `reference(name)`. The cache is $SHIPWAY_IMAGE_ARCHIVES,
        by default `~/.cache/shipway/images`; older archives of the same image are removed.
    """
    check_name(name)
    base = base_here()
    used = engine("buildah" if base == STAND_IN else None)
    target = _folder() / f"{name}-{inputs_hash(base)[:16]}.tar"
    built_on = "tensorflow" if name == "horovod" else name  # made one after the other
    with locks.alone(_folder() / f"{built_on}.lock"):
        if not target.exists():
            build(name, given_base=base, with_engine=used)
            part = target.with_suffix(".part")
            part.unlink(missing_ok=True)
            used.save(reference(name), part)
            for old in _folder().glob(f"{name}-*.tar"):
                old.unlink()
            part.replace(target)
    return target


def _folder() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shipway" / "images"
    return Path(os.environ.get(VARIABLE, default))
