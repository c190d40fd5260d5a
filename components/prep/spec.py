"""DatasetSpec: where the rows are, what their columns mean, how they are split and encoded."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from shipway.code.reference import Code
from shipway.specs import Spec

FORMATS = ("auto", "csv", "tsv", "jsonl", "parquet")  # of every input; an input may bring more


def _none_if_empty(value: Any) -> Any:
    """KFP has no optional parameters that run locally, so an empty string means "not given"."""
    return None if value == "" else value


OptionalName = Annotated[str | None, BeforeValidator(_none_if_empty)]
OptionalCharacter = Annotated[
    Annotated[str, Field(min_length=1, max_length=1, pattern=r"^[\x01-\x7f]$")] | None, BeforeValidator(_none_if_empty)
]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class DatasetSpec(Spec):
    """What `prep.dataset` does, and what its result depends on.

    Attributes:
        name: The model's name; statistics are compared with this name's champion.
        data: A file or folder: local path, `file://`, `s3://`, `http(s)://`; CSV, TSV, JSONL or Parquet, also
            compressed (`.gz`, `.bz2`, `.xz`, `.zst`), or a format of the recipe's input.
        format: What the files are; `auto` goes by their suffix. With a format given, files of a folder may have any
            name that does not say another one.
        delimiter: One ASCII character; empty to find it in a CSV's header.
        quoting: Whether quotes enclose a CSV's or TSV's fields (`csv`) or are characters (`none`); `auto` goes by each
            file's beginning, and a TSV has none unless it shows some.
        input: What a row gives the model, as the recipe's input understands it; `text`: `column`, `max_chars`.
        labels: How the label column is read, as the recipe's task understands it; `classification`: `fold`.
        group_column: Rows with one value stand on one side of the split; default: the input's content (the normalised
            text).
        split_column: Holds train, eval (or val, valid, validation, dev) or test; then nothing is hashed.
        code: Your own code, `ADDRESS#sha256=HASH` of a wheel or a `.zip`: installed before the recipe is loaded.
        encoder: The recipe's EncoderParams.
        eval_fraction, test_fraction: Expected share of the groups.
        seed: Another seed is another split.
        max_bad_fraction: Share of rows that may be quarantined before the step fails.
        on_unseen_label: What happens to rows of eval and test with a class that train has no row of: `count` keeps
            them, and evaluation scores them as wrong; `quarantine` leaves them out, and evaluation says how many;
            `error` refuses the dataset. `auto` is `count` where a split column is given, as a public set comes, else
            `error`.
        slices: Columns that the evaluation will measure by; without one of them there is no dataset, so that it is told
            before anything is trained. They change nothing in the dataset.
        shard_mb: Size in MB that a shard of TFRecords aims at.
        min_shards: At least as many training shards, where there are 64 rows for each; replicas read whole shards.
    """

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    data: Annotated[str, Field(min_length=1)]
    format: Annotated[str, Field(min_length=1)] = "auto"
    delimiter: OptionalCharacter = None
    quoting: Literal["auto", "csv", "none"] = "auto"
    input: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, Any] = Field(default_factory=dict)
    label_column: Annotated[str, Field(min_length=1)] = "label"
    group_column: OptionalName = None
    split_column: OptionalName = None
    recipe: Annotated[str, Field(min_length=1)] = "intents"
    code: Code = ""
    encoder: dict[str, Any] = Field(default_factory=dict)
    eval_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.15
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    max_bad_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    on_unseen_label: Literal["auto", "count", "quarantine", "error"] = "auto"
    slices: list[str] = Field(default_factory=list)
    shard_mb: Annotated[int, Field(ge=1, le=1024)] = 96
    min_shards: Annotated[int, Field(ge=1, le=4096)] = 8

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.eval_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"eval_fraction {self.eval_fraction} + test_fraction {self.test_fraction} leave nothing for train; "
                "their sum must be below 1"
            )
        if self.delimiter and self.delimiter in '"\r\n':
            raise ValueError(f"delimiter {self.delimiter!r}: a quote or a line break separates no fields")
        return self

    @property
    def unseen_labels(self) -> Literal["count", "quarantine", "error"]:
        """`on_unseen_label`, with `auto` decided."""
        if self.on_unseen_label == "auto":
            return "count" if self.split_column else "error"
        return self.on_unseen_label
