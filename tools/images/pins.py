"""Which bytes the reaper's CronJob runs: the launcher's digest, written into an overlay of manifests/."""

from __future__ import annotations

import json
import re
from pathlib import Path

from shipway.errors import InvalidSpec, NotFound
from shipway.images import DEFAULTS
from tools.images.builds import OUT

NAME = DEFAULTS["launcher"].rpartition(":")[0]
_ENTRY = re.compile(rf"(?m)^  - name: {re.escape(NAME)}\n(?:    (?:newName|newTag|digest): .*\n)+")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def pin(overlay: Path, registry: str, digests: Path = OUT / "digests.json") -> str:
    """Has the overlay name the launcher in a registry by the digest that `push` has seen; returns the reference.

    Raises:
        NotFound: nothing was pushed, or no such overlay.
        InvalidSpec: what was pushed has no digest, or the overlay has no entry for the image.
    """
    file = overlay / "kustomization.yaml"
    for path, mend in ((digests, "python -m tools.images push --registry ..."), (file, "ls manifests/overlays")):
        if not path.is_file():
            raise NotFound(f"pin: no {path}; {mend}")
    digest = str(json.loads(digests.read_text(encoding="utf-8")).get("launcher", ""))
    if not _DIGEST.fullmatch(digest):
        raise InvalidSpec(
            f"{digests}: launcher: {digest!r} is no digest; push it: python -m tools.images push launcher"
        )
    place = f"{registry.rstrip('/')}/{NAME.rpartition('/')[2]}"
    entry = f"  - name: {NAME}\n    newName: {place}\n    digest: {digest}\n"
    text, count = _ENTRY.subn(entry, file.read_text(encoding="utf-8"))
    if count != 1:
        raise InvalidSpec(f"{file}: images: expected one entry with name {NAME} and newName, found {count}")
    file.write_text(text, encoding="utf-8")
    return f"{place}@{digest}"
