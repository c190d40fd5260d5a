"""Checkpoints in object storage: the chief publishes, every worker reads its own copy. Replicas share no disk.

    checkpoints/<step>/state.npz       weights, best weights, optimizer variables
    checkpoints/<step>/manifest.json   its hash, and the loop's own state
    checkpoints/current                the pointer, moved last

Random numbers need no state of their own: batches and dropout masks are functions of (seed, step, replica).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from shipway.artifacts import FileRef
from shipway.errors import Conflict, CorruptArtifact
from shipway.storage import Store, open_folder
from shipway.storage.pointers import move_pointer, read_pointer

POINTER = "checkpoints/current"
Arrays = list[NDArray[Any]]


class LoopState(BaseModel):
    """What the loop itself must remember."""

    step: int = 0
    best_value: float | None = None
    best_step: int = 0
    patience_used: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)  # of the last evaluation
    best_metrics: dict[str, float] = Field(default_factory=dict)
    best_sums: list[float] = Field(default_factory=list)  # of the eval split, as the task's head adds them up
    seed: int = 0
    workers: int = 1
    finished: bool = False  # early stopping or the last step: a restart has only to publish


class _Manifest(BaseModel):
    state: LoopState
    file: FileRef
    counts: tuple[int, int, int]  # weights, optimizer variables, best weights (none: the weights are the best)


class _FolderManifest(BaseModel):
    state: LoopState
    files: list[FileRef]


class _Numbered:
    """Checkpoints of one job, by number.

    Args:
        output_uri: `jobs/<job>`.
        keep: How many stay.
    """

    def __init__(self, output_uri: str, keep: int) -> None:
        self.store: Store = open_folder(output_uri)
        self.keep = keep

    def latest(self) -> int | None:
        """The number of the current checkpoint, None before the first."""
        pointer = read_pointer(self.store, POINTER)
        return None if pointer is None else int(pointer.target.rsplit("/", 1)[-1])

    def _publish(self, prefix: str, manifest: BaseModel) -> None:
        """Manifest and pointer, behind the content; then deletes those that are too old."""
        self.store.put(f"{prefix}/manifest.json", manifest.model_dump_json().encode())
        try:
            move_pointer(self.store, POINTER, prefix, expected=read_pointer(self.store, POINTER))
        except Conflict:
            # Only a job's one chief writes: a newer chief has taken over, and what it says stands.
            return
        numbers = {int(info.key.split("/")[1]) for info in self.store.list("checkpoints/") if _numbered(info.key)}
        for number in sorted(numbers)[: -self.keep]:
            self.store.delete(*[info.key for info in self.store.list(f"{_prefix(number)}/")])

    def _read(self, prefix: str) -> Any:
        try:
            return json.loads(self.store.get(f"{prefix}/manifest.json"))
        except ValueError as error:
            raise self._damaged(prefix, error) from error

    def _damaged(self, prefix: str, error: ValueError) -> CorruptArtifact:
        return CorruptArtifact(f"{self.store.uri}/{prefix}/manifest.json: {error}; train with --fresh")


class Checkpoints(_Numbered):
    """Arrays of a tf_keras model; a checkpoint's number is its step.

    Args:
        output_uri, keep: See `_Numbered`.
        work: Private folder of this replica.
    """

    def __init__(self, output_uri: str, work: Path, keep: int) -> None:
        super().__init__(output_uri, keep)
        self.work = work

    def save(self, state: LoopState, weights: Arrays, optimizer: Arrays, best: Arrays) -> None:
        """Publishes a checkpoint."""
        best = [] if state.best_step == state.step else best
        prefix = _prefix(state.step)
        path = self.work / "state.npz"
        arrays = {f"{i:05d}": value for i, value in enumerate([*weights, *optimizer, *best])}
        np.savez(path, allow_pickle=False, **arrays)
        file = self.store.upload(path, f"{prefix}/state.npz")
        path.unlink()
        self._publish(prefix, _Manifest(state=state, file=file, counts=(len(weights), len(optimizer), len(best))))

    def load(self, step: int) -> tuple[LoopState, Arrays, Arrays, Arrays]:
        """State, weights, optimizer variables and best weights of a checkpoint.

        Raises:
            CorruptArtifact: the stored bytes are not those of the manifest.
        """
        prefix = _prefix(step)
        try:
            manifest = _Manifest.model_validate(self._read(prefix))
        except ValueError as error:
            raise self._damaged(prefix, error) from error
        path = self.work / "restored.npz"
        self.store.download(f"{prefix}/state.npz", path, sha256=manifest.file.sha256)
        with np.load(path, allow_pickle=False) as archive:
            arrays = [archive[name] for name in sorted(archive.files)]
        path.unlink()
        first, second, third = manifest.counts
        if len(arrays) != first + second + third:
            raise CorruptArtifact(f"{self.store.uri}/{prefix}: {len(arrays)} arrays; train with --fresh")
        weights, best = arrays[:first], arrays[first + second :]
        return manifest.state, weights, arrays[first : first + second], best or list(weights)


class FolderCheckpoints(_Numbered):
    """Files of a recipe's own fit: checkpoints are counted, since only the recipe knows what a step is."""

    def save(self, state: LoopState, folder: Path) -> None:
        """Publishes the folder's files as the next checkpoint."""
        prefix = _prefix((self.latest() or 0) + 1)
        files = list(self.store.upload_folder(folder, f"{prefix}/files"))
        self._publish(prefix, _FolderManifest(state=state, files=files))

    def restore(self, folder: Path) -> LoopState | None:
        """Fills the folder from the current checkpoint; None where there is none.

        Raises:
            CorruptArtifact: the stored bytes are not those of the manifest.
        """
        number = self.latest()
        if number is None:
            return None
        prefix = _prefix(number)
        try:
            manifest = _FolderManifest.model_validate(self._read(prefix))
        except ValueError as error:
            raise self._damaged(prefix, error) from error
        self.store.download_folder(f"{prefix}/files", manifest.files, folder)
        return manifest.state


def _prefix(number: int) -> str:
    return f"checkpoints/{number:08d}"


def _numbered(key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 3 and parts[1].isdigit()


def shapes_match(arrays: Sequence[NDArray[Any]], variables: Sequence[Any]) -> bool:
    """Whether arrays fit a model's variables, one by one."""
    return [tuple(a.shape) for a in arrays] == [tuple(v.shape) for v in variables]
