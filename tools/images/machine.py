"""How this machine reaches its package index: read from pip itself, handed to builds, never part of an image."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

MOUNTED = "/etc/shipway-build/ca.crt"  # where the Dockerfiles mount the secret ca.crt
KEPT = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def pip_settings() -> dict[str, str]:
    """What configuration files and PIP_* variables say; a variable wins, as it does with pip."""
    listed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    settings: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        key, equals, value = line.partition("=")
        section, dot, name = key.partition(".")
        if equals and dot and section in ("global", "install", ":env:"):
            settings[name.replace("_", "-")] = str(ast.literal_eval(value))
    return settings


def pip_conf(*, with_authorities: bool) -> str:
    """A pip.conf for inside a build."""
    lines = ["[global]", "disable-pip-version-check = true", "no-input = true", "root-user-action = ignore"]
    if with_authorities:
        lines.append(f"cert = {MOUNTED}")
    for name, value in pip_settings().items():
        if name in KEPT:
            lines.append(f"{name} = " + "\n    ".join(value.split()))
    return "\n".join(lines) + "\n"


def authorities() -> Path | None:
    """The certificates that this machine trusts: a company's proxy may have its own."""
    named = (pip_settings().get("cert"), os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt")
    return next((Path(path) for path in named if path and Path(path).is_file()), None)
