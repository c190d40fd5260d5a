"""What every trial of a sweep calls, as its runner is told at its start: a function, and a document with holes.

And how values get into text and out of it, as Katib has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

WORKER = ["python", "-m", "shipway.components.sweep.worker"]
CALL = "SHIPWAY_TRIAL"  # the environment variable that holds the call
FOLDER = "$folder"  # filled in by the runner: where the trial keeps its checkpoints
TRIAL = "$trial"  # filled in like a parameter: number and attempt, for what a trial names after itself


@dataclass(frozen=True)
class Call:
    """A function of `document` and `report` that gives metrics; its report(step, metrics) says whether to go on.

    Attributes:
        function: `package.module:name`.
        document: Its first argument, `{"$param": name}` where a parameter's value goes.
        params: Each parameter's value where Katib writes it into a manifest; packed trials have theirs from the store.
    """

    function: str
    document: dict[str, Any]
    params: dict[str, Any]

    @classmethod
    def from_json(cls, text: str) -> Call:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The document with these values in its holes."""
        filled: dict[str, Any] = _fill(self.document, values)
        return filled


def _fill(document: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(document, Mapping):
        if set(document) == {"$param"}:
            return values[document["$param"]]
        return {key: _fill(value, values) for key, value in document.items()}
    return [_fill(value, values) for value in document] if isinstance(document, list) else document


def value_text(value: Any) -> str:
    """A parameter's value as Katib writes it into a manifest."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_values(params: Mapping[str, Any]) -> dict[str, Any]:
    """Values that Katib passed as text: it replaces text, whatever the parameter's type."""
    return {name: _read_value(text) for name, text in params.items()}


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
