"""Hashes over source code: what a step's result depends on beside its spec and its data."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from shipway.canonical import fingerprint, sha256_hex
from shipway.errors import InvalidSpec


def code_fingerprint(*sources: Path, code: str = "") -> str:
    """Hash over the installed package's Python files, those of more files or folders, and a run's own code.

    Args:
        sources: Files or folders.
        code: `ADDRESS#sha256=HASH`, wherever it lies: what a recipe imports beside itself counts too.
    """
    roots = (Path(str(files("shipway"))), *sources)
    own = [["code", code.rpartition("#")[2]]] if code else []
    return fingerprint([*([str(index), *_hashes(root, "*.py")] for index, root in enumerate(roots)), *own])


def folder_fingerprint(folder: Path) -> str:
    """Hash over a pipeline's own files: its Python and its presets."""
    return fingerprint([*_hashes(folder, "*.py"), *_hashes(folder, "*.yaml")])


def source_of(module_name: str) -> Path:
    """The folder of a module, or the file of one that lies in no package.

    Raises:
        InvalidSpec: it has no source.
    """
    spec = find_spec(module_name)
    if spec is None or spec.origin is None:
        raise InvalidSpec(f"module {module_name!r} has no source file", field="recipe", given=module_name)
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" or "." in module_name else origin


def _hashes(root: Path, pattern: str) -> list[str]:
    if root.is_file():
        return [sha256_hex(root.read_bytes())]
    hashes: list[str] = []
    for folder in [root, *(link for link in (root / "components", root / "pipelines") if link.is_symlink())]:
        # A development checkout reaches components and pipelines through links, which rglob does not follow.
        real = folder.resolve()
        hashes += [f"{path.relative_to(real)}:{sha256_hex(path.read_bytes())}" for path in sorted(real.rglob(pattern))]
    return hashes
