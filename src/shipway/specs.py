"""Specs: one document, whether it comes from the UI, a YAML file or Python; refused with one clear line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from shipway.errors import InvalidSpec, nearest
from shipway.yaml_text import load_yaml


class Spec(BaseModel):
    """Base of all specs: an unknown field is an error, since a typo must not train a wrong model silently."""

    # NaN passes every bound that is written as "not below", and no JSON holds it.
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), validate_default=True, allow_inf_nan=False)


GIVEN_CHARS = 160  # of what was given, in a message

S = TypeVar("S", bound=BaseModel)


def parse(model: type[S], document: S | Mapping[str, Any] | str, where: str = "") -> S:
    """The validated spec.

    Args:
        model: The spec's class.
        document: An instance, a mapping, or YAML/JSON text.
        where: Prefix of the field's path in messages, `training`.

    Raises:
        InvalidSpec: says the field's path, what it got, what it may be, and the nearest right name.
    """
    if isinstance(document, model):
        return document
    if isinstance(document, str):
        document = load_yaml(document, where or model.__name__) or {}
    if not isinstance(document, Mapping):
        raise InvalidSpec(f"{where or model.__name__}: expected a mapping, got {type(document).__name__} {document!r}")
    try:
        return model.model_validate(dict(document))
    except ValidationError as error:
        told = "; ".join(_explain(model, problem, where) for problem in error.errors()[:3])
        raise InvalidSpec(told.encode(errors="backslashreplace").decode()) from error  # half a surrogate pair


def _explain(model: type[BaseModel], problem: Any, where: str) -> str:
    """One pydantic problem as one line: path, given, allowed, nearest."""
    path = where
    for part in problem["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if problem["type"] == "extra_forbidden":
        names = sorted(_fields_at(model, problem["loc"][:-1]))
        word = str(problem["loc"][-1])
        return f"{path}: unknown field; expected one of {', '.join(names)}{nearest(word, names)}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "string_unicode":
        message = "expected text in UTF-8 (a file of such a name: rename it)"
    is_told = problem["type"] == "missing" or (isinstance(problem["input"], Mapping) and "got " in message)
    given = "" if is_told else f", got {_short(repr(problem['input']))}"
    if problem["type"] == "string_type" and isinstance(problem["input"], bool | int | float | date):
        given += " (what YAML makes of 7, on, no or 2024-01-31; quotes make it text)"
    return f"{path}: {message[:1].lower()}{message[1:]}{given}"


def _short(text: str) -> str:
    return text if len(text) <= GIVEN_CHARS else f"{text[:GIVEN_CHARS]}..."


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    """Field names of the nested model at a pydantic error location."""
    current: set[type[BaseModel]] = {model}
    for part in location:
        annotations = [m.model_fields[part].annotation for m in current if part in m.model_fields]
        if annotations:
            current = {found for annotation in annotations for found in _models_in(annotation)}
    return {name for m in current for name in m.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for inner in get_args(annotation) for found in _models_in(inner)}
