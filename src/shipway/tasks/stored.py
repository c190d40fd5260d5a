"""The task of stored documents: a model's, and the files that it left beside an evaluation's record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shipway.errors import CorruptArtifact
from shipway.tasks import task_of

if TYPE_CHECKING:
    from shipway.artifacts import EvaluationRecord, ModelManifest
    from shipway.tasks.base import Task
    from shipway.tasks.evaluated import Read


def task_of_model(model: ModelManifest, recipes: Iterable[str] = ()) -> Task:
    """The task that a model's recipe states.

    Args:
        model: The model.
        recipes: That its manifest may name, beside the shipped ones and SHIPWAY_RECIPES.

    Raises:
        InvalidSpec: the recipe is not allowed here, or cannot be loaded.
        CorruptArtifact: the recipe states another task than the manifest.
    """
    from shipway.recipes import load_stored_recipe

    where = f"model {model.name} ({model.uri})"
    task = task_of(load_stored_recipe(model.recipe, where, recipes, model.code))
    if task.name != model.task:
        raise CorruptArtifact(f"{where}: its task is {model.task!r}, its recipe's {task.name!r}; train with --fresh")
    return task


def reader(record: EvaluationRecord) -> Read:
    """Gives the verified bytes of the files beside a record, by name."""

    def read(name: str) -> bytes:
        from shipway.canonical import sha256_hex
        from shipway.storage import open_folder

        kept = record.files.get(name)
        if kept is None:
            raise CorruptArtifact(f"{record.uri}: its record names no file {name}; evaluate again with --fresh")
        data = open_folder(record.uri).get(kept.path)
        if sha256_hex(data) != kept.sha256:
            raise CorruptArtifact(f"{record.uri}/{kept.path}: was changed; evaluate again with --fresh")
        return data

    return read
