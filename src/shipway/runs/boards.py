"""A run's TensorBoard files on this machine, kept as its steps write them into the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from shipway import private
from shipway.artifacts import StepRecord
from shipway.errors import NotFound
from shipway.storage import Store, open_folder

if TYPE_CHECKING:
    from shipway.runs.facade import Run

OUTPUT = "tensorboard"  # of a step: the folder in the store


class Boards:
    """The files of a run, in a folder for each step that has any.

    Args:
        run: It may go on.
        folder: Of this machine; files that are there already are gone on with.

    Raises:
        NotFound: the run has ended, and none of its steps left files; or no store is named.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.folder = run, folder
        run.backend.open_store()
        self._seen: dict[Path, object] = {}  # file -> the version of it that is here
        if run.has_ended and not self.places():
            raise NotFound(
                f"run {run.key} has no TensorBoard files: none of its steps trained or searched",
                field="tensorboard",
                given=run.key,
                fix=f"`shipway runs show {run.key}` has its steps",
            )

    def places(self) -> dict[str, str]:
        """Step -> its folder in the store, of those that have named one so far."""
        records = [piece for step in self._records() for piece in (step, *step.parts)]
        named = {record.name: record.outputs.get(OUTPUT) for record in records}
        return {name: uri for name, uri in named.items() if isinstance(uri, str)}

    def fetch(self) -> int:
        """Brings the files up to date; how many there are."""
        count = 0
        for name, uri in self.places().items():
            store = open_folder(uri)
            for info in store.list():
                path = _below(self.folder / name, info.key)
                count += 1
                version = (info.etag, info.size_bytes)
                if self._seen.get(path) != version or not path.exists():
                    _bring(path, store.get(info.key))
                    self._seen[path] = version
        return count

    def _records(self) -> Iterator[StepRecord]:
        """The run's own records of its steps; of one that goes on here, those that the steps write as they work."""
        if self.run.has_ended or not self.run.is_here:
            yield from self.run.record.steps
            return
        store = Store.open()
        for info in store.list(f"runs/{self.run.key}/steps/"):
            yield StepRecord.from_json(store.get(info.key), info.key)


def _below(folder: Path, key: str) -> Path:
    """The path of an object in a folder.

    Raises:
        NotFound: its name leads out of it.
    """
    parts = PurePosixPath(key).parts
    if not parts or ".." in parts or key.startswith("/"):
        raise NotFound(f"{key!r} is no name of a file", field="tensorboard", given=key)
    return folder.joinpath(*parts)


def _bring(path: Path, data: bytes) -> None:
    """Writes a file; what only grew is appended to, since TensorBoard goes on where it has read to."""
    private.make_folder(path.parent)
    before = path.read_bytes() if path.exists() else None
    if before is not None and data.startswith(before):
        with path.open("ab") as file:
            file.write(data[len(before) :])
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    os.replace(temporary, path)
