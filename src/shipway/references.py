"""Secrets among a run's parameters: what travels through steps, records and caches is their redacted text.

`env:NAME` names a variable of the step that opens the address; on Kubeflow that is a key of the pipeline's Secret. A
value that was typed is kept in the run's request.json (0600) alone, and found again by its redacted text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from shipway import redaction
from shipway.context import RUN, Context
from shipway.errors import InvalidSpec

PREFIX = "env:"
DATA = "SHIPWAY_DATA"  # the Secret's optional key for an address of data that is a secret

_table: dict[str, str] = {}  # redacted text -> what it stands for, in this process


def hide(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Parameters with each secret value replaced by its redacted text, and what those texts stand for."""
    secrets: dict[str, str] = {}

    def replace(path: str, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: replace(f"{path}.{key}", str(key), each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [replace(f"{path}.{index}", name, each) for index, each in enumerate(value)]
        if not isinstance(value, str):
            return value  # no secret is a number, and NaN is not even equal to itself
        shown = redaction.value_of(name, value)
        if shown == value:
            return value
        if shown == redaction.HIDDEN or secrets.get(shown, value) != value:
            shown = f"{shown}#{path}"
        secrets[shown] = value
        return shown

    hidden = {key: replace(key, key, value) for key, value in params.items()}
    learn(secrets)
    return hidden, secrets


def learn(secrets: Mapping[str, str]) -> None:
    """From here on this process finds what the texts stand for, and shows none of it."""
    _table.update(secrets)
    for shown, value in secrets.items():
        if "://" not in value:
            redaction.know(value)
        elif shown.partition("#")[0] == redaction.host_of(value):
            redaction.know_hook(value)
        else:
            redaction.know_address(value)


def reveal(text: str) -> str:
    """What a parameter stands for: a variable's value, a typed secret, or itself.

    Raises:
        InvalidSpec: a variable that is not set here.
    """
    if redaction.is_reference(text):
        return _variable(text.removeprefix(PREFIX))
    if redaction.HIDDEN not in text:
        return text
    _learn_of_run()
    return _table.get(text, text)


def reveal_all(value: Any) -> Any:
    """A step's arguments with each typed secret in its place; references to variables stay."""
    if isinstance(value, Mapping):
        return {key: reveal_all(each) for key, each in value.items()}
    if isinstance(value, list):
        return [reveal_all(each) for each in value]
    return _put_back(value) if isinstance(value, str) and redaction.HIDDEN in value else value


def _put_back(text: str) -> str:
    """Also within a text that a pipeline puts together; not within a document, whose reader asks for what it opens."""
    revealed = reveal(text)
    if revealed != text or text.lstrip().startswith("{"):
        return revealed
    for shown in sorted(_table, key=len, reverse=True):
        text = text.replace(shown, _table[shown])
    return text


def conceal_all(value: Any) -> Any:
    """The other way round: a step that hands arguments on hands on the redacted text."""
    _learn_of_run()
    back = {real: shown for shown, real in _table.items()}
    return _map(value, lambda text: back.get(text, text))


def _map(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _map(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_map(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def secret_params(params: Mapping[str, Any]) -> list[str]:
    """Names of the parameters that hold a secret by value."""
    return [key for key, value in params.items() if redaction.value_of(key, value) != value]


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise InvalidSpec(
            f"the variable {name} is not set here",
            field=f"env:{name}",
            fix=(
                f"set it where the command is typed, or on Kubeflow put the address into the key {DATA} "
                f"of the pipeline's Secret and give data=env:{DATA}"
            ),
        )
    redaction.know_address(value)
    return value


def _learn_of_run() -> None:
    """A step's process asks the run that it belongs to."""
    run = os.environ.get(RUN)
    if not run:
        return
    path = Context.current().home / "runs" / run / "request.json"
    try:
        learn(json.loads(path.read_text(encoding="utf-8")).get("secrets", {}))
    except (OSError, ValueError):
        return
