"""Inputs: what a row gives a model, and what a request may hold."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from shipway.errors import InvalidSpec
from shipway.inputs.base import BadRequest, Bindable, Format, Input
from shipway.specs import parse

if TYPE_CHECKING:
    from shipway.recipes.base import Recipe

SHIPPED = ("image", "table", "text")

__all__ = ["SHIPPED", "BadRequest", "Format", "Input", "bind_input", "input_of", "load_input"]


def load_input(name: str) -> Input:
    """A shipped input.

    Raises:
        InvalidSpec: none of that name.
    """
    if name not in SHIPPED:
        raise InvalidSpec("unknown input", field="input", given=name, allowed=(*SHIPPED, "a recipe's own object"))
    kind: Input = import_module(f"shipway.inputs.{name}").kind
    return kind


def input_of(recipe: Recipe) -> Input:
    """The input that a recipe states: by name, or as an object of its own.

    Raises:
        InvalidSpec: neither.
    """
    stated = recipe.input
    if isinstance(stated, str):
        return load_input(stated)
    if not isinstance(stated, Input):
        raise InvalidSpec(
            f"its input is a {type(stated).__name__}", field=f"recipe {recipe.name}", allowed="a name or an Input"
        )
    return stated


def bind_input(kind: Input, stated: Mapping[str, object], where: str) -> Input:
    """The input as it reads the requests of a model; itself where its parameters do not matter there.

    Args:
        kind: The recipe's.
        stated: The parameters that the model was trained with.
        where: They stand in, for messages.

    Raises:
        InvalidSpec: parameters that the input refuses.
    """
    return kind.bind(parse(kind.Params, stated, where)) if isinstance(kind, Bindable) else kind
