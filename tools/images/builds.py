"""Building, and what is written beside the images: digests and bills of materials."""

from __future__ import annotations

import json
import time
from pathlib import Path

from shipway.images import VERSION
from tools.images.engines import Engine, engine
from tools.images.settings import ROOT, base, reference, revision, settings

OUT = ROOT / "dist" / "images"
BILL = "/usr/share/shipway/sbom.cdx.json"


def build(name: str, *, given_base: str | None = None, variant: str = "cpu", with_engine: Engine | None = None) -> str:
    """Builds one image, and the tensorflow image first where it stands on that; returns its reference.

    Raises:
        InvalidSpec: unknown name, no pinned base, no engine.
        subprocess.CalledProcessError: the build failed; its own words were printed.
    """
    used = with_engine or engine()
    tag = reference(name, variant)
    arguments = {
        "BASE": base(given_base),
        "VERSION": VERSION,
        "REVISION": revision(),
        "SOURCE": settings()["SOURCE"],
    }
    if name == "tensorflow":
        arguments["VARIANT"] = variant
    if name == "horovod":
        arguments["TENSORFLOW"] = build("tensorflow", given_base=given_base, with_engine=used)
    began = time.monotonic()
    dockerfile = ROOT / "images" / name / "Dockerfile"
    used.build(dockerfile, tag, ROOT, settings()["SOURCE_DATE_EPOCH"], arguments)
    print(f"{tag}: {used.size(tag)}, {time.monotonic() - began:.0f} s", flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}{'' if variant == 'cpu' else '-' + variant}.cdx.json").write_bytes(used.read(tag, BILL))
    return tag


def push(names: list[str], registry: str | None, used: Engine) -> Path:
    """Pushes built images to a registry, or to an OCI layout beside the tree; writes what digest each has there.

    Args:
        names: Which.
        registry: `registry.example.com/ml`; None: the folder dist/images/layout.
        used: The engine that built them.

    Returns:
        dist/images/digests.json, for `shipway compile --digests`.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    file = OUT / "digests.json"
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in names:
        tag = reference(name)
        short = tag.rpartition("/")[2]
        known[name] = used.push(tag, f"{registry}/{short}" if registry else f"oci:{OUT / 'layout'}:{short}")
        print(f"{name} {known[name]}", flush=True)
    file.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return file
