"""What the columns of rows mean: the recipe's input and task, with their sections of the spec.

`check` needs no Polars: a plan is made where there is none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from pydantic import BaseModel

from shipway import modules, tables
from shipway.components.prep.columns import OURS, SCORED
from shipway.components.prep.spec import FORMATS, DatasetSpec
from shipway.errors import InvalidSpec
from shipway.inputs import Format, Input, input_of
from shipway.inputs.base import FileColumn, ReadsFiles
from shipway.recipes.base import KnowsPlace, load_recipe
from shipway.specs import parse
from shipway.tasks import task_of
from shipway.tasks.base import BringsFormats, TakesLists

if TYPE_CHECKING:
    import polars as pl

    from shipway.tasks.base import Labels


INPUT_COLUMN = "input_column"  # as pipelines call the column of an input that has one


@dataclass(frozen=True)
class Schema:
    """The input and the labels of a dataset.

    Attributes:
        kind: What a row gives.
        input: The section `dataset.input`.
        task: The task's name.
        labels: What the label column holds.
        reading: The section `dataset.labels`.
        sources: The input's columns in the rows -> columns of the source.
        format: As the spec names it.
    """

    kind: Input
    input: BaseModel
    task: str
    labels: Labels
    reading: BaseModel
    sources: Mapping[str, str]
    format: str = "auto"

    @property
    def names(self) -> tuple[str, ...]:
        """The input's columns in the rows."""
        return tuple(self.sources)

    @cached_property
    def formats(self) -> dict[str, Format]:
        """Files that the input or the labels read beyond those of every dataset, by the name that the spec gives."""
        return {**self.kind.formats, **(self.labels.formats if isinstance(self.labels, BringsFormats) else {})}

    @property
    def files(self) -> FileColumn | None:
        """How rows name files that they stand for, where the input reads such and this dataset has them."""
        return self.kind.files(self.input) if isinstance(self.kind, ReadsFiles) else None

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a source must have for the input."""
        return (self.files.path_column,) if self.files else tuple(self.sources.values())

    @property
    def contents(self) -> tuple[str, ...]:
        """Those whose cells are bytes, or base64."""
        return tuple(self.sources.values()) if isinstance(self.kind, ReadsFiles) and not self.files else ()

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the names of such files, of those of one format where it is given: `more` of
        `shipway.storage.sources`."""
        given = self.formats.get(self.format)
        if given is not None:
            return (*given.suffixes, *given.also)
        return tuple(suffix for format in self.formats.values() for suffix in format.suffixes)

    @property
    def format_names(self) -> tuple[str, ...]:
        """What `dataset.format` may be beside `auto`."""
        return (*FORMATS[1:], *self.formats)

    @property
    def takes_lists(self) -> bool:
        """Whether a list may stand in the label column of JSON lines and Parquet."""
        return isinstance(self.labels, TakesLists) and self.labels.takes_lists

    @cached_property
    def has_classes(self) -> bool:
        """Whether a label names classes; a number does not."""
        import polars as pl

        return self.labels.classes(pl.Series([], dtype=pl.String)) is not None

    @property
    def has_one_class(self) -> bool:
        """Whether a label is one of several classes, so that another label says something else; tags and spans are
        any number."""
        return self.has_classes and self.labels.least_classes > 1

    def with_classes(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows once for each class that their `label` names, as `class`."""
        classes = self.labels.classes(frame.get_column("label"))
        assert classes is not None
        return frame.with_columns(classes.list.unique(maintain_order=True).alias("class")).explode("class")

    def class_counts(self, labels: pl.Series) -> Counter[str]:
        """Class -> rows that name it."""
        import polars as pl

        counts = labels.alias("label").to_frame().group_by("label").len()
        summed = self.with_classes(counts).group_by("class").agg(pl.col("len").sum())
        return Counter(dict(summed.drop_nulls().iter_rows()))


def schema_of(spec: DatasetSpec) -> Schema:
    """The schema that a spec states, made once a process.

    Raises:
        InvalidSpec: a section that the input or the task refuses, or an unknown format.
    """
    sections = json.dumps([spec.input, spec.labels], sort_keys=True, default=str)
    return _schema(spec.recipe, sections, spec.format, modules.code_in_use())


def check(spec: DatasetSpec) -> None:
    """Refuses a spec that its recipe, input or task refuses, before anything is read.

    Raises:
        InvalidSpec: as `schema_of`; one column for two roles; a wrong encoder parameter.
    """
    schema = schema_of(spec)
    columns = [*schema.needed, spec.label_column, *filter(None, [spec.split_column])]
    if len(set(columns)) < len(columns):
        raise InvalidSpec(
            f"{INPUT_COLUMN}, label_column and split_column must differ, got {', '.join(columns)}", field="label_column"
        )
    if schema.files is not None and schema.files.root is None and tables.is_kept(spec.data):
        raise InvalidSpec(
            f"its column {schema.files.path_column} names files, and a table from Python lies beside none",
            field="data",
            fix="give overrides.dataset.input.root, the folder or s3:// prefix of the files, or a column that holds "
            "them, by overrides.dataset.input.bytes_column",
        )
    parse(load_recipe(spec.recipe).EncoderParams, spec.encoder, "dataset.encoder")


def settled(spec: DatasetSpec) -> tuple[DatasetSpec, str]:
    """The spec as it holds where this runs, and what a person should know of that (`KnowsPlace.settle`)."""
    recipe = load_recipe(spec.recipe)
    if not isinstance(recipe, KnowsPlace):
        return spec, ""
    params, told = recipe.settle(parse(recipe.EncoderParams, spec.encoder, "dataset.encoder"))
    return spec.model_copy(update={"encoder": params.model_dump(mode="json")}), told


@lru_cache(maxsize=16)
def _schema(recipe: str, sections: str, format: str, _code: str) -> Schema:
    loaded = load_recipe(recipe)
    kind, task = input_of(loaded), task_of(loaded)
    for_input, for_labels = json.loads(sections)
    params = parse(kind.Params, for_input, "dataset.input")
    reading = parse(task.labels.Params, for_labels, "dataset.labels")
    sources = kind.columns(params)
    taken = [name for name in sources if name in (*OURS, *SCORED) or name.startswith(("_", "source_"))]
    if taken or not sources:
        raise InvalidSpec(
            f"input {kind.name!r} has {f'a column {taken[0]!r}' if taken else 'no column'}",
            field=f"recipe {recipe}",
            given=kind.name,
            allowed=f"names other than {', '.join((*OURS, *SCORED))}, without _ or source_ in front",
        )
    schema = Schema(kind, params, task.name, task.labels, reading, sources, format)
    formats = ("auto", *schema.format_names)
    if format not in formats:
        raise InvalidSpec("unknown format", field="dataset.format", given=format, allowed=formats)
    return schema
