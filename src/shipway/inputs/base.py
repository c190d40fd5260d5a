"""The input protocol: what a row gives a model, and what a request may hold.

A recipe states its input by name (`text`) or brings an object of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_array


class BadRequest(ValueError):
    """A request that cannot be answered; its message is the reason, in one line."""


@dataclass(frozen=True)
class Format:
    """Files of rows that an input, or the labels of a task, can read beyond CSV, TSV, JSON lines and Parquet.

    Attributes:
        suffixes: Endings of their names in small letters, `.conll`; a folder is searched for them.
        read: A file's rows in order, as frames of equal columns, text or bytes; a function of a module, since several
            processes read. A column may be any that the spec names, not only the input's.
        also: Endings that a folder is searched for only where `dataset.format` names this format, as others use them
            too.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path], Iterator[pl.DataFrame]]
    also: tuple[str, ...] = ()


@runtime_checkable
class Input(Protocol):
    """What a row gives the model.

    Attributes:
        name: Stands in manifests and messages.
        Params: The section `dataset.input`: which source columns, which bounds.
        Limits: What one instance of a request may be (`endpoint.input`).
        tensor: V2 input: name, datatype, shape.
        unit: What `sizes` counts, for people: `characters`.
        formats: Files that it can read beyond those of every input, by the name that `dataset.format` may hold.
    """

    name: str
    Params: type[BaseModel]
    Limits: type[BaseModel]
    tensor: tuple[str, str, list[int]]
    unit: str
    formats: Mapping[str, Format]

    def columns(self, params: BaseModel) -> dict[str, str]:
        """Columns of the rows -> source columns that they are read from. The names are the input's own, `text`.

        Their cells are text as the source has it (a number of Parquet as its shortest text) or null; bytes where a
        format of the input gives bytes.
        """
        ...

    def reason(self, params: BaseModel) -> pl.Expr:
        """Why a row is bad, over `columns`; null for a good one."""
        ...

    def content(self) -> pl.Expr:
        """What makes two rows the same input, as text: hashed for leakage, and the group where no column gives one."""
        ...

    def values(self, rows: pl.DataFrame) -> Sequence[Any]:
        """What the encoder takes, one item a row."""
        ...

    def preview(self, rows: pl.DataFrame) -> pl.Series:
        """What a person sees of each row in a page's cell, as text."""
        ...

    def sizes(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """How large each value is: batches are made of values of one size, chunks hold so much."""
        ...

    def read_instance(self, instance: Any, where: str, limits: BaseModel) -> Any:
        """The value of one instance of a request.

        Args:
            instance: JSON, as V1 takes it. Of a V2 tensor one item along its first dimension: a text or bytes where its
                datatype is BYTES, else numbers or booleans, in lists where `tensor` has further dimensions; what came
                as bytes may hold NaN and infinity.
            where: It stands in the request, for messages: `instances[3]`.
            limits: The endpoint's.

        Raises:
            BadRequest: says which part is wrong, what was given and what is expected.
        """
        ...

    def instance(self, row: dict[str, Any]) -> Any:
        """The JSON instance that asks for a kept row."""
        ...

    def from_line(self, line: str) -> Any:
        """The JSON instance of one line that a person typed or piped.

        Raises:
            BadRequest: the line is none; says what is expected.
        """
        ...

    def json_tokens(self, limits: BaseModel) -> int:
        """How many strings, brackets and commas the JSON of one instance may take; a large request that holds more for
        each instance that it may have is refused before it is parsed."""
        ...

    def warm_up(self, labels: Sequence[str]) -> list[Any]:
        """Values of real sizes, the small ones first."""
        ...


@runtime_checkable
class Bindable(Protocol):
    """What an input may offer beside `Input` where a request's form depends on its `Params`: a table's columns.

    Rows name their columns themselves, so prep asks the input as the recipe states it; what reads requests asks the one
    that `bind` gives, with the model's parameters.
    """

    def bind(self, params: BaseModel) -> Input:
        """The input for requests, as these parameters have it."""
        ...


@runtime_checkable
class ShowsColumns(Protocol):
    """What an input may offer beside `Input`: other columns that its `preview` tells, where a dataset's rows have them.

    Attributes:
        shown: Their names in the rows, `path`.
    """

    shown: Sequence[str]


@runtime_checkable
class GivesFeatures(Protocol):
    """What an input may offer beside `Input`: plain features of its rows, for the linear baselines of any task."""

    def fit_features(self, rows: pl.DataFrame) -> tuple[csr_array, Callable[[pl.DataFrame], csr_array]]:
        """Features of training rows, float (n, k), on scales that one penalty suits; and what gives those of others."""
        ...


@runtime_checkable
class StandsFor(Protocol):
    """What an input may offer beside `Input` where an instance is too long to be shown: what is shown in its place.

    Attributes:
        example: In commands and pages that show a request, `<photo.jpg as base64>`.
    """

    example: Any

    def example_line(self, source: str, row: Mapping[str, Any]) -> str:
        """The line that a person types for a row, `photo.jpg` where it cannot be told on this machine.

        Args:
            source: Of the dataset, as it was given.
            row: Its columns that the input shows, by name.
        """
        ...


@runtime_checkable
class TakesLong(Protocol):
    """What an input may offer beside `Input` where one instance takes milliseconds to read or to encode: an image.

    Attributes:
        threads: So many of a predictor's work at once, and none of it in the thread that talks to clients.
    """

    threads: int


@dataclass(frozen=True)
class FileColumn:
    """How rows name the files that they stand for.

    Attributes:
        path_column: Of tables: each row's file.
        content: The source column that prep fills with the files' bytes, one of `Input.columns`.
        root: Folder that paths are relative to and must lie in; None for each table's own.
        max_bytes: A larger file makes a bad row and is not read.
    """

    path_column: str
    content: str
    root: str | None
    max_bytes: int


@runtime_checkable
class ReadsFiles(Protocol):
    """What an input may offer beside `Input` where a row is a file: an image, a recording.

    Its source may then be a folder of such files, each below the folder of its label; tables that name them; an archive
    of either; or tables that hold the files themselves, as bytes of Parquet or as base64.

    Attributes:
        endings: Of the files' names, in small letters, `.jpg`.
    """

    endings: tuple[str, ...]

    def files(self, params: BaseModel) -> FileColumn | None:
        """How rows name files; None where a column holds the files themselves."""
        ...
