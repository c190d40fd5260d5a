"""Known vulnerabilities of what the images hold, by pip-audit; what it could not look up counts as a failure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from shipway.errors import InvalidSpec
from tools.images.locks import CUDA, EXPORTS, UV
from tools.images.settings import ROOT

# Run from a cache of uv's own: 25 packages that nothing else needs.
PIP_AUDIT = ("tool", "run", "--quiet", "pip-audit@2.10.1")
SERVICES = ("pypi", "osv")
LOCKS = (*EXPORTS, CUDA)


def audit(service: str = "pypi") -> int:
    """Asks for every pinned requirement of the images and prints a line for each finding.

    Args:
        service: Whose database: `pypi` (pypi.org's JSON of each release) or `osv` (api.osv.dev).

    Returns:
        0: everything was looked up and nothing is known; 1: there are findings, or gaps.
    """
    names = ", ".join(SERVICES)
    if service not in SERVICES:
        raise InvalidSpec(f"service: unknown {service!r}; expected one of {names}")
    words = [UV, *PIP_AUDIT, "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    files = [word for name in LOCKS for word in ("-r", ROOT / "images" / name)]
    done = subprocess.run([*words, "-s", service, *files], capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        reason = (done.stderr.strip().splitlines() or ["no words"])[-1]
        raise InvalidSpec(f"pip-audit gave no listing with service {service} ({reason:.300}); expected one of {names}")
    lines, is_clean = report(json.loads(done.stdout)["dependencies"])
    print("\n".join(lines), file=sys.stdout if is_clean else sys.stderr)
    return 0 if is_clean else 1


def report(dependencies: Sequence[dict[str, Any]]) -> tuple[list[str], bool]:
    """Lines to print, and whether all is well.

    Args:
        dependencies: As pip-audit lists them: `vulns` of each one it found, `skip_reason` of each it did not. By
            itself pip-audit calls a listing without findings clean, though it could look up nothing at all.
    """
    vulnerabilities_of = {
        (one["name"], one["version"]): one["vulns"] for one in dependencies if "skip_reason" not in one
    }
    skipped = sorted({one["name"] for one in dependencies if "skip_reason" in one})
    lines = [
        f"{name} {version}: {vulnerability['id']}, mended in {', '.join(vulnerability['fix_versions']) or 'no version'}"
        for (name, version), vulnerabilities in sorted(vulnerabilities_of.items())
        for vulnerability in vulnerabilities
    ]
    is_clean = not lines and not skipped
    if skipped:
        few = ", ".join(skipped[:3])
        lines.append(f"not looked up: {len(skipped)} of {len(vulnerabilities_of) + len(skipped)} packages ({few} ...)")
    known = "nothing is known" if not lines else "see above"
    return [*lines, f"{len(vulnerabilities_of)} packages looked up: {known}"], is_clean
