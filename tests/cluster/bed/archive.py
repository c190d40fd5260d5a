"""Container images without a daemon: docker archives (the format of `docker save`) written by hand."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """What an image is made of.

    Attributes:
        reference: Its name with a tag.
        root: A folder whose content is the first layer; None starts from nothing.
        files: Path in the image -> file of this machine, or the bytes themselves; executable, owned by root.
        entrypoint: Its command.
        user: uid that it runs as.
        environment: NAME=value.
    """

    reference: str
    root: Path | None = None
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    user: str = ""
    environment: Sequence[str] = ()


def write(image: Image, out: Path, layers: Path) -> None:
    """Writes an image's archive.

    Args:
        image: What it holds.
        out: The archive; complete or not there.
        layers: A folder in which a root's layer is kept for the other images on it.
    """
    parts = [_root_layer(image.root, layers)] if image.root else []
    if image.files:
        parts.append(_file_layer(image, layers))
    digests = [_sha256(part) for part in parts]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [PATH, *image.environment], "Entrypoint": list(image.entrypoint), "User": image.user},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [],
    }
    encoded = json.dumps(config).encode()
    name = f"{hashlib.sha256(encoded).hexdigest()}.json"
    names = [f"{digest}/layer.tar" for digest in digests]
    manifest = json.dumps([{"Config": name, "RepoTags": [image.reference], "Layers": names}]).encode()
    partial = out.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        _add(tar, name, encoded)
        _add(tar, "manifest.json", manifest)
        for part, inside in zip(parts, names, strict=True):
            tar.add(part, inside)
    os.replace(partial, out)


def _root_layer(root: Path, layers: Path) -> Path:
    layer = layers / f"{root.name}.tar"
    if not layer.exists():
        partial = layer.with_suffix(".partial")
        with tarfile.open(partial, "w") as tar:
            tar.add(root, ".", filter=_plain)
        os.replace(partial, layer)
    return layer


def _file_layer(image: Image, layers: Path) -> Path:
    layer = layers / f"{image.reference.replace('/', '_').replace(':', '_')}.files.tar"
    folders: set[str] = set()
    with tarfile.open(layer, "w") as tar:
        for inside, content in image.files.items():
            for folder in reversed(Path(inside).parents):
                if str(folder) != "/" and str(folder) not in folders:
                    folders.add(str(folder))
                    entry = tarfile.TarInfo(str(folder).lstrip("/"))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            _add(tar, inside.lstrip("/"), content if isinstance(content, bytes) else content.read_bytes())
    return layer


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Numeric owners, and no devices: each container gets its own /dev."""
    if entry.isdev() or entry.name.startswith(("./dev/", "./proc/", "./sys/", "./run/")):
        return None
    entry.uname = entry.gname = ""
    return entry


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
