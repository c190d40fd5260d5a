"""A typo is refused whatever class a person's own parameters are."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field

from shipway.errors import InvalidSpec
from shipway.specs import parse


class Plain(BaseModel):
    learning_rate: float = Field(0.1, alias="learningRate")
    model_config = ConfigDict(populate_by_name=True)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


def test_an_unknown_field_of_a_plain_model_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"params\.learnig_rate: unknown field; .*did you mean 'learning_rate'"):
        parse(Plain, {"learnig_rate": 1}, "params")
    assert parse(Plain, {"learningRate": 1}).learning_rate == parse(Plain, {"learning_rate": 1}).learning_rate == 1


def test_a_model_that_takes_anything_does() -> None:
    assert parse(Open, {"anything": 1}).model_dump() == {"anything": 1}
