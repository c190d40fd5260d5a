"""What builds and runs is named by digest or hash; what no digest is known for must be given one to be released."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from shipway.errors import InvalidSpec, NotFound
from tools.images import pins, settings

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"@sha256:[0-9a-f]{64}$")
DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))
SCRIPTS = [*DOCKERFILES, ROOT / "Makefile", *sorted((ROOT / "tools").rglob("*.sh")), *sorted((ROOT / ".ci").glob("*"))]
OURS = "ghcr.io/shipway/"
GIVEN = ("${BASE}", "${TENSORFLOW}")  # by tools/images, which takes a pinned base, or an image that it has just built


def unpinned_bases(text: str) -> list[str]:
    """Images that a Dockerfile stands on, copies from or mounts, and does not name by digest."""
    stages = set(re.findall(r"(?im)^FROM \S+ AS (\S+)", text)) | {"scratch", *GIVEN}
    named = re.findall(r"(?im)^FROM (?:--\S+ )*(\S+)", text) + re.findall(r"--from=(\S+)", text)
    named += re.findall(r"(?:--mount=|,)from=([^,\s]+)", text) + re.findall(r"(?m)^# *syntax=(\S+)", text)
    return [name for name in named if name not in stages and not PINNED.search(name)]


def unpinned_installs(text: str) -> list[str]:
    """Commands of pip that take something from an index without a hash."""
    whole = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    found = re.findall(r"\bpip (?:--python \S+ )?(?:install|download|wheel)\b[^\n&|;]*", whole)
    return [each for each in found if not re.search(r"--require-hashes|--no-index|\"\$source\"", each)]


def images_of(document: object) -> list[str]:
    """Every `image` of a manifest."""
    if isinstance(document, dict):
        here = [str(value) for key, value in document.items() if key == "image" and isinstance(value, str)]
        return here + [each for value in document.values() for each in images_of(value)]
    return [each for value in document for each in images_of(value)] if isinstance(document, list) else []


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_stands_on_what_is_given_to_it_or_named_by_digest(path: Path) -> None:
    assert unpinned_bases(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", [
    "FROM python:3.11", "FROM --platform=linux/amd64 python:3.11 AS base", "FROM scratch\nCOPY --from=busybox:1 / /",
    "FROM scratch\nRUN --mount=type=bind,from=tool:latest,target=/t true", "# syntax=docker/dockerfile:1\nFROM scratch",
    "FROM python:3.11@sha256:abc",
])  # fmt: skip
def test_a_base_by_tag_would_be_found(text: str) -> None:
    assert len(unpinned_bases(text)) == 1


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_pip_takes_nothing_without_a_hash(path: Path) -> None:
    assert unpinned_installs(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", [
    "pip install uv==0.13.8", ".uv/bin/pip install --quiet \\n    uv", "python -m pip download -d out horovod==1",
])  # fmt: skip
def test_an_install_by_version_would_be_found(text: str) -> None:
    assert len(unpinned_installs(text)) == 1


@pytest.mark.parametrize("given", ["python:3.11", "python:3.11-slim@sha256:abc", "registry/python@sha256:" + "0" * 63])
def test_no_build_takes_a_base_that_is_not_pinned(given: str) -> None:
    with pytest.raises(InvalidSpec, match="is not pinned"):
        settings.base(given)
    assert settings.settings()["BASE"] == "" or PINNED.search(settings.settings()["BASE"])


def test_manifests_run_no_image_but_ours_which_an_overlay_pins() -> None:
    files = sorted((ROOT / "manifests").rglob("*.yaml"))
    named = {image for path in files for each in yaml.safe_load_all(path.read_text()) for image in images_of(each)}
    assert named
    assert [image for image in named if not image.startswith(OURS) and not PINNED.search(image)] == []


@pytest.fixture
def digests(tmp_path: Path) -> Path:
    file = tmp_path / "digests.json"
    file.write_text(json.dumps({"launcher": "sha256:" + "a" * 64}))
    return file


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "manifests" / "overlays").iterdir()))
def test_an_overlay_is_pinned_to_what_was_pushed_and_pinned_again(name: str, tmp_path: Path, digests: Path) -> None:
    overlay = shutil.copytree(ROOT / "manifests" / "overlays" / name, tmp_path / name)
    before = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    for registry in ("first.example.com/ml", "registry.example.com/ml/"):
        told = pins.pin(overlay, registry, digests)
    after = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    (image,) = after.pop("images")
    assert image == {"name": pins.NAME, "newName": "registry.example.com/ml/python-launcher",
                     "digest": "sha256:" + "a" * 64}  # fmt: skip
    assert told == f"{image['newName']}@{image['digest']}"
    assert after == {key: value for key, value in before.items() if key != "images"}


def test_nothing_is_pinned_to_what_nobody_pushed(tmp_path: Path, digests: Path) -> None:
    overlay = shutil.copytree(ROOT / "manifests" / "overlays" / "dev", tmp_path / "dev")
    with pytest.raises(NotFound, match="push --registry"):
        pins.pin(overlay, "registry.example.com/ml", tmp_path / "none.json")
    digests.write_text("{}")
    with pytest.raises(InvalidSpec, match="is no digest"):
        pins.pin(overlay, "registry.example.com/ml", digests)
