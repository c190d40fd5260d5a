"""Writes an image's software bill of materials: sbom.py IMAGE FILE, run inside the image. CycloneDX 1.5, JSON.

What is installed is asked, not what was requested: Python distributions, Debian packages, the interpreter. It holds no
time and no random serial number, so that equal images have equal bills.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG = Path("/var/lib/dpkg/status")


def python_packages() -> Iterator[dict[str, Any]]:
    """Distributions of this environment."""
    for found in distributions(path=[path for path in sys.path if path.startswith(sys.prefix)]):
        name = found.metadata["Name"].lower().replace("_", "-")
        part = _component(name, found.version, f"pkg:pypi/{name}@{quote(found.version)}")
        expression, text = found.metadata.get("License-Expression"), found.metadata.get("License")
        if expression:
            part["licenses"] = [{"expression": expression}]
        elif text and len(text) < 80:  # some put the licence's whole text there
            part["licenses"] = [{"license": {"name": text}}]
        yield part


def debian_packages(status: str) -> Iterator[dict[str, Any]]:
    """Installed packages in the words of dpkg's status file."""
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            name, number, machine = fields["Package"], fields["Version"], fields["Architecture"]
            yield _component(name, number, f"pkg:deb/debian/{quote(name)}@{quote(number)}?arch={machine}")


def _component(name: str, number: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": number, "purl": purl}


def main(image: str, target: Path) -> None:
    """Writes the bill."""
    number = platform.python_version()
    interpreter = _component("python", number, f"pkg:generic/python@{number}")
    parts = [interpreter, *python_packages(), *debian_packages(DPKG.read_text(encoding="utf-8"))]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image, "version": version("shipway")}},
        "components": sorted(parts, key=lambda part: str(part["purl"])),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
