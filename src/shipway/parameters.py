"""Parameters of a pipeline, turned into the types that it declares: one reader for a run here and on Kubeflow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from shipway import tables
from shipway.errors import InvalidSpec
from shipway.yaml_text import load_json

KINDS = {
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "STRING": "text; put it in quotes",
    "BOOLEAN": "true or false",
    "LIST": "a JSON list",
    "STRUCT": "a JSON object",
}
_TYPES: dict[str, Any] = {
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": (int, float),
    "STRING": str,
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
}
MOST_VALUES = 10_000  # of one array: parameters are kept with the run and shown


def inputs_of(spec: Any) -> dict[str, dict[str, Any]]:
    """A pipeline's parameters: name -> `parameterType`, `defaultValue`, `isOptional`, `description`.

    Args:
        spec: Its spec, as a document or as kfp's message.
    """
    if not isinstance(spec, Mapping):
        from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

        spec = MessageToDict(spec)
    definitions = (spec.get("root") or {}).get("inputDefinitions") or {}
    return dict(definitions.get("parameters") or {})


def check_params(
    inputs: Mapping[str, Mapping[str, Any]],
    params: Mapping[str, Any],
    *,
    pipeline: str,
    keep: Callable[[str, Any], str],
) -> dict[str, Any]:
    """Parameters in the pipeline's own types.

    Args:
        inputs: As `inputs_of` gives them.
        params: Text as typed, what YAML or Python made of it, or a table where text is expected; `data` may be several
            by name.
        pipeline: Its name, for messages.
        keep: (parameter, table) -> URI of a file that holds it; called when all else has been checked.

    Raises:
        InvalidSpec: an unknown or missing parameter (with the nearest right name), or one of the wrong type.
    """
    for key in params:
        if key not in inputs:
            raise InvalidSpec(f"unknown parameter of {pipeline}", field=key, given=key, allowed=inputs)
    given = {key: value for key, value in params.items() if value is not None}  # an empty line of a file: not given
    kinds = {key: str(inputs[key].get("parameterType")) for key in given}
    whole = {key: value for key, value in given.items() if kinds[key] == "STRING" and tables.is_table(value)}
    several: dict[str, Any] = {}
    if kinds.get("data") == "STRUCT" and isinstance(given["data"], Mapping):
        several = {name: value for name, value in given["data"].items() if tables.is_table(value)}
        given["data"] = {name: value for name, value in given["data"].items() if name not in several}
    checked = {key: value if key in whole else _typed(key, value, kinds[key]) for key, value in given.items()}
    missing = [key for key, about in inputs.items() if not about.get("isOptional") and _is_empty(checked.get(key))]
    if missing:
        raise InvalidSpec(f"missing; {pipeline} needs {', '.join(f'{key}=...' for key in missing)}", field=missing[0])
    if several:
        checked["data"] |= {name: keep(f"data.{name}", value) for name, value in several.items()}
    return checked | {key: keep(key, value) for key, value in whole.items()}


def plain(value: Any, field: str) -> Any:
    """A value as JSON has it: arrays, tuples and ranges as lists, numbers of NumPy as Python's, paths as text.

    Args:
        value: Of Python.
        field: Where it was given, for messages.

    Raises:
        InvalidSpec: JSON has no such value; names where in it.
    """
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # an array, a Series, a number of NumPy
        if getattr(value, "size", 1) > MOST_VALUES:
            raise InvalidSpec(
                field=field, given=tables.described(value), allowed=f"at most {MOST_VALUES:,} values",
                fix="write them to a file, and give its path",
            )  # fmt: skip
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float):
        raise InvalidSpec(field=field, given=value, allowed="a finite number")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidSpec(f"the name {key!r:.80} is no text; put it in quotes", field=field)
        return {key: plain(each, f"{field}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(each, f"{field}[{index}]") for index, each in enumerate(value)]
    raise InvalidSpec(
        f"got {tables.described(value) or f'{value!r:.80}'}, of type {type(value).__name__}",
        field=field,
        allowed="numbers, text, true, false, and lists and dicts of these",
        fix="quotes make text of it" if isinstance(value, date) else "",
    )


def mapping(value: Any, field: str, allowed: str) -> dict[str, Any]:
    """A mapping that a person gave, or an empty one for None.

    Raises:
        InvalidSpec: it is none.
    """
    if value is not None and not isinstance(value, Mapping):
        raise InvalidSpec(field=field, given=value, allowed=allowed)
    return dict(value or {})


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _typed(key: str, given: Any, kind: str) -> Any:
    """A parameter's value as the pipeline declares it."""
    try:
        value = _read(key, given, kind) if isinstance(given, str) else given
    except (ValueError, KeyError) as error:
        raise _wrong(key, given, kind) from error
    if isinstance(value, os.PathLike) and kind == "STRING":
        value = os.fspath(value)
    elif isinstance(value, list | tuple | range | Mapping) or hasattr(value, "dtype"):
        value = plain(value, key)
    if kind == "NUMBER_INTEGER" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, _TYPES.get(kind, object)):
        raise _wrong(key, given, kind)
    if kind.startswith("NUMBER") and (isinstance(value, bool) or not math.isfinite(value)):
        raise _wrong(key, given, kind)
    return value


def _read(key: str, text: str, kind: str) -> Any:
    if kind == "BOOLEAN":
        return {"true": True, "false": False}[text.lower()]
    if kind == "NUMBER_INTEGER":
        return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    if kind == "NUMBER_DOUBLE":
        return float(text)
    return load_json(text, key) if kind in ("LIST", "STRUCT") else text


def _wrong(key: str, given: Any, kind: str) -> InvalidSpec:
    shown = tables.described(given) or f"{given!r:.80}"
    wanted = KINDS.get(kind, kind)
    if kind == "STRING" and tables.described(given):
        wanted = "text, or a table of columns: a pandas, Polars or Arrow one"
    return InvalidSpec(f"got {shown}, expected {wanted}", field=key)
