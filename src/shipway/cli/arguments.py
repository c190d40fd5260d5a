"""Parameters as a person types them: `--param name=my-bot data=rows.csv overrides.training.epochs=3`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shipway import redaction
from shipway.errors import InvalidSpec, NotFound

_ASSIGNMENT = re.compile(r"^[A-Za-z_][\w.\-]*=", re.DOTALL)
_FLAG = "--param"
_SHORT = "-p"


def spread_params(arguments: Sequence[str]) -> list[str]:
    """`--param a=1 b=2` (or `-p`) as `--param a=1 --param b=2`; everything else untouched."""
    spread: list[str] = []
    inside = False
    for index, argument in enumerate(arguments):
        if argument == "--":
            return spread + list(arguments[index:])
        if inside and _ASSIGNMENT.match(argument):
            if spread[-1] not in (_FLAG, _SHORT):
                spread.append(_FLAG)
            spread.append(argument)
            continue
        inside = argument in (_FLAG, _SHORT) or (
            argument.startswith(f"{_FLAG}=") and bool(_ASSIGNMENT.match(argument[8:]))
        )
        spread.append(argument)
    return spread


def collect_params(pairs: Iterable[str], params_file: Path | None = None, preset: str | None = None) -> dict[str, Any]:
    """Parameters of a run: file, then preset, then pairs; the later wins.

    A dotted key reaches into a mapping: `overrides.training.epochs=3`.

    Raises:
        InvalidSpec: a pair without `=`, a key that is given twice, or a file that is no mapping.
        NotFound: no such file.
    """
    params: dict[str, Any] = read_params(params_file) if params_file else {}
    if preset:
        params["preset"] = preset
    keys: set[str] = set()
    for pair in pairs:
        if not _ASSIGNMENT.match(pair):
            raise InvalidSpec(
                field=f"--param {pair!r:.80}", allowed="key=value, as in --param name=my-bot data=rows.csv"
            )
        key, _, value = pair.partition("=")
        if key in keys:  # who edits the first of them changes nothing, and would not be told
            raise InvalidSpec("is given twice", field=f"--param {key}", fix="leave one of them")
        keys.add(key)
        if "." in key:
            _put(params, key.split("."), _typed(value, f"--param {key}"), pair)
        else:
            params[key] = value
        if redaction.value_of(key.rpartition(".")[2], value) != value:
            print(
                f"warning: {key} holds a secret, and all users of this machine can read a command line while it runs "
                "(ps): give env:NAME with the value in the variable NAME, or --params-file",
                file=sys.stderr,
            )
    return params


def read_params(path: Path) -> dict[str, Any]:
    """A YAML or JSON file of parameters."""
    from shipway.yaml_text import load_yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"no file {str(path)!r}", field="--params-file", given=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"cannot be read: {error}", field=f"--params-file {path}") from error
    document = load_yaml(text, f"--params-file {path}")
    if not isinstance(document, Mapping):
        raise InvalidSpec(
            field=f"--params-file {path}", given=type(document).__name__, allowed="a mapping of parameters"
        )
    return {str(key): value for key, value in document.items()}


def _typed(value: str, where: str) -> Any:
    """What YAML makes of it: numbers, booleans, lists; text otherwise.

    Text is taken as typed, unless quoted: to YAML `|` begins a block and `#` a comment.
    """
    from shipway.yaml_text import load_yaml

    try:
        parsed = load_yaml(value, where)
    except InvalidSpec:
        if value.lstrip()[:1] in ("{", "[", "&"):  # meant as YAML: a key that stands twice, a bracket too few
            raise
        return value
    is_null = value.strip().lower() in ("", "~", "null")
    if (parsed is None and not is_null) or (isinstance(parsed, str) and value.strip()[:1] not in ("'", '"')):
        return value
    return parsed


def _put(params: dict[str, Any], path: Sequence[str], value: Any, pair: str) -> None:
    here = params
    for part in path[:-1]:
        below = here.setdefault(part, {})
        if not isinstance(below, dict):
            raise InvalidSpec(f"{part!r} is {below!r} already, not a mapping", field=f"--param {pair}")
        here = below
    here[path[-1]] = value
