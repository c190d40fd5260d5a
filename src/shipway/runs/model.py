"""`Model`: a registered version of a model, as an object."""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shipway.artifacts import DecisionRecord, EvaluationRecord, FileRef, ModelManifest
    from shipway.registry import ModelVersion, Registry


@dataclass(frozen=True)
class Model:
    """A registered version, in the store that the environment names.

    Attributes:
        name: The model's.
        version: Its number.
    """

    name: str
    version: int

    @cached_property
    def _registry(self) -> Registry:
        from shipway.registry import Registry

        return Registry()

    @cached_property
    def registered(self) -> ModelVersion:
        """The registry's document of the version.

        Raises:
            NotFound: it was removed.
            CorruptArtifact: it was edited.
        """
        return self._registry.get(self.name, self.version)

    @property
    def manifest(self) -> ModelManifest:
        """What was trained: recipe, parameters, labels, variants."""
        return self.registered.model

    @property
    def evaluation(self) -> EvaluationRecord | None:
        """How good it is."""
        return self.registered.evaluation

    @property
    def decision(self) -> DecisionRecord | None:
        """The newest decision on it."""
        return self._registry.decision(self.registered)

    @property
    def aliases(self) -> list[str]:
        """`candidate`, `champion`: those that name it now."""
        return [alias for alias, version in self._registry.aliases(self.name).items() if version == self.version]

    @property
    def files(self) -> list[FileRef]:
        """Its files: path, size and sha256."""
        return list(self.manifest.files)

    @property
    def card(self) -> str:
        """Its model card, Markdown."""
        from shipway.storage import open_uri

        store, key = open_uri(self._registry.card_uri(self.name, self.version, "md"))
        return store.get(key).decode()

    def download(self, folder: str | Path) -> Path:
        """Brings its files here, each verified by its sha256.

        Args:
            folder: Where to; made where there is none.

        Returns:
            The folder.

        Raises:
            CorruptArtifact: a file is not what the manifest says.
        """
        from shipway.storage import open_folder

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        open_folder(self.manifest.uri).download_folder("", self.files, target)
        return target

    def __str__(self) -> str:
        aliases = self.aliases
        return f"{self.name} version {self.version}" + (f" ({', '.join(aliases)})" if aliases else "")

    def _repr_html_(self) -> str:
        rows = [
            ("recipe", self.manifest.recipe),
            ("trained", f"{self.manifest.strategy}, {self.manifest.workers} workers, {self.manifest.steps} steps"),
            ("files", f"{len(self.files)}, {sum(file.size_bytes for file in self.files):,} bytes"),
        ]
        cells = "".join(f"<tr><td>{name}</td><td>{html.escape(value)}</td></tr>" for name, value in rows)
        return f"<b>Model {html.escape(str(self))}</b><table>{cells}</table>"
