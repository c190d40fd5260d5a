"""Specs: one document, whether it comes from the UI, a YAML file or Python; refused with one clear line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from shipway.errors import InvalidSpec
from shipway.yaml_text import load_yaml


class Spec(BaseModel):
    """Base of all specs: an unknown field is an error, since a typo must not train a wrong model silently."""

    # NaN passes every bound that is written as "not below", and no JSON holds it.
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), validate_default=True, allow_inf_nan=False)


PYDANTIC = "input should be "  # its messages of types and bounds begin so
_PLAIN = {
    "greater than or equal to ": "at least ",
    "less than or equal to ": "at most ",
    "greater than ": "more than ",
    "a valid integer": "an integer",
    "a valid ": "a ",
}
_WORDS = re.compile("'([^']*)'")

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
        raise InvalidSpec(field=where or model.__name__, given=document, allowed="a mapping")
    if model.model_config.get("extra", "ignore") == "ignore":  # a person's own class, which says nothing of it
        _refuse_unknown(model, document, where)
    try:
        return model.model_validate(dict(document))
    except ValidationError as error:
        raise InvalidSpec.all_of([_explain(model, problem, where) for problem in error.errors()[:3]]) from error


def _refuse_unknown(model: type[BaseModel], document: Mapping[str, Any], where: str) -> None:
    """Refuses what pydantic would leave out without a word."""
    names = {name for key, field in model.model_fields.items() for name in (key, field.alias) if name}
    for key in document:
        if key not in names:
            raise _unknown(f"{where}.{key}" if where else str(key), key, names)


def _unknown(path: str, key: object, names: set[str]) -> InvalidSpec:
    return InvalidSpec("unknown field", field=path, given=str(key), allowed=sorted(names))


def _explain(model: type[BaseModel], problem: Any, where: str) -> InvalidSpec:
    """One pydantic problem: path, given, allowed, nearest."""
    path = where
    for part in problem["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    given = problem["input"]
    if problem["type"] == "extra_forbidden":
        return _unknown(path, problem["loc"][-1], _fields_at(model, problem["loc"][:-1]))
    if problem["type"] == "missing":
        return InvalidSpec("field required", field=path)
    if problem["type"] == "string_unicode":
        return InvalidSpec(field=path, given=given, allowed="text in UTF-8", fix="rename a file of such a name")
    if problem["type"] == "literal_error":
        return InvalidSpec(field=path, given=given, allowed=_WORDS.findall(problem["ctx"]["expected"]))
    told = str(problem["msg"]).removeprefix("Value error, ")
    told = f"{told[:1].lower()}{told[1:]}"
    fix = ""
    if problem["type"] == "string_type" and isinstance(given, bool | int | float | date):
        fix = "quotes make text of what YAML reads as 7, on, no or 2024-01-31"
    if told.startswith(PYDANTIC):
        told = told.removeprefix(PYDANTIC)
        for words, plain in _PLAIN.items():
            told = told.replace(words, plain)
        return InvalidSpec(field=path, given=given, allowed=told, fix=fix)
    if isinstance(given, Mapping) and "got " in told:
        return InvalidSpec(told, field=path)
    return InvalidSpec(f"{told}, got", field=path, given=given)


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    """Field names of the nested model at a pydantic error location."""
    current: set[type[BaseModel]] = {model}
    for part in location:
        annotations = [m.model_fields[part].annotation for m in current if part in m.model_fields]
        if annotations:
            current = {each for annotation in annotations for each in _models_in(annotation)}
    return {name for m in current for name in m.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for inner in get_args(annotation) for model in _models_in(inner)}
