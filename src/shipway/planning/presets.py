"""A pipeline's presets: the YAML files of its folder `params/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shipway.errors import InvalidSpec
from shipway.yaml_text import load_yaml

DEFAULT = "default"


def presets(folder: Path) -> dict[str, str]:
    """Presets of a pipeline's folder: name -> the comment that opens the file."""
    descriptions: dict[str, str] = {}
    for path in sorted((folder / "params").glob("*.yaml")):
        comment: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            comment.append(line.lstrip("# ").strip())
        descriptions[path.stem] = " ".join(comment)
    return descriptions


def read_preset(folder: Path, preset: str) -> dict[str, Any]:
    """A preset's sections; of a pipeline that has no default, none.

    Raises:
        InvalidSpec: no such preset, or a file that holds no mapping.
    """
    path = folder / "params" / f"{preset}.yaml"
    names = presets(folder)
    if preset not in names:
        if preset == DEFAULT:
            return {}
        raise InvalidSpec("unknown preset", field="preset", given=preset, allowed=names or ("none",))
    sections = load_yaml(path.read_text(encoding="utf-8"), f"preset {preset}") or {}
    if not isinstance(sections, dict):
        raise InvalidSpec(field=f"preset {preset}: {path}", given=sections, allowed="a mapping of sections")
    return sections
