"""What the images are made from: the pinned base, the files that count, the names."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from shipway.errors import InvalidSpec
from shipway.images import DEFAULTS

ROOT = Path(__file__).parents[2]
NAMES = ("launcher", "predictor", "tensorflow", "horovod")  # in build order: horovod stands on tensorflow
BASE_FILE = ROOT / "images" / "base.env"
# As .dockerignore lets through.
INPUTS = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
    "src",
    "components",
    "pipelines",
    "images",
    "tools/horovod-wheel.sh",
)
STAND_IN = "localhost/shipway/base:bookworm"


def settings() -> dict[str, str]:
    """The assignments of images/base.env."""
    lines = BASE_FILE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def base(given: str | None = None) -> str:
    """The base image: as given, as $BASE says, or as images/base.env pins it.

    Raises:
        InvalidSpec: it is not pinned, and not an image of this machine alone (localhost/...).
    """
    reference = given or os.environ.get("BASE") or settings()["BASE"]
    if not reference:
        raise InvalidSpec(
            "images/base.env: BASE is not set; write docker.io/library/python:3.11-slim-bookworm@sha256:... with the "
            "digest you checked, or build a stand-in with tools/images/stand-in.sh and say BASE=" + STAND_IN
        )
    if not reference.startswith("localhost/") and not re.search(r"@sha256:[0-9a-f]{64}$", reference):
        raise InvalidSpec(f"BASE: {reference!r} is not pinned; expected name:tag@sha256: and 64 hexadecimal digits")
    return reference


def check_name(name: str) -> str:
    """The name, if it is one of ours."""
    if name not in NAMES:
        raise InvalidSpec(f"image: unknown name {name!r}; expected one of {', '.join(NAMES)}")
    return name


def reference(name: str, variant: str = "cpu") -> str:
    """`ghcr.io/shipway/python-tensorflow:0.1.0`, with `-cuda` behind it for that variant."""
    return DEFAULTS[check_name(name)] + ("" if variant == "cpu" else f"-{variant}")


def inputs_hash(*more: str) -> str:
    """sha256 over everything that a build reads from the tree, and what else is given."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-coz", "--exclude-standard", "--", *INPUTS], cwd=ROOT, text=True
    )
    whole = hashlib.sha256("\0".join(more).encode())
    for name in sorted(set(filter(None, listed.split("\0")))):
        path = ROOT / name
        if path.is_symlink() or path.is_file():
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            whole.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return whole.hexdigest()


def revision() -> str:
    """The commit, with `-dirty` behind it where what is built differs from it; `unknown` outside a checkout."""
    try:
        commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True, stderr=subprocess.DEVNULL)
        changed = subprocess.check_output(["git", "status", "--porcelain", "--", *INPUTS], cwd=ROOT, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + ("-dirty" if changed.strip() else "")
