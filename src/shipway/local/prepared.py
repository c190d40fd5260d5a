"""A run before it starts: the pipeline found, its parameters typed, its configuration resolved, its key."""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shipway import private, redaction, references
from shipway.canonical import canonical_json
from shipway.code import pin
from shipway.context import Context
from shipway.executors import identity
from shipway.parameters import check_params, inputs_of
from shipway.planning import Configuration, Pipeline, find, resolve


@dataclass(frozen=True)
class Prepared:
    """What is about to run; whoever shows, names or starts it is handed this, and resolves nothing again.

    Attributes:
        params: In the pipeline's own types, each secret by its redacted text.
        secrets: What those texts stand for.
        configuration: None for a pipeline without a plan.
    """

    pipeline: Pipeline
    params: dict[str, Any]
    secrets: dict[str, str] = field(repr=False)
    configuration: Configuration | None = None

    def key(self, *, fresh: bool = False, given: str = "") -> str:
        """The run's key: equal for the same pipeline, parameters, data and code, so that a killed run goes on.

        Args:
            fresh: A key that no run has.
            given: The idempotency key, which alone decides then.
        """
        name = self.pipeline.function_name
        if given:
            return identity.run_key(name, {"idempotency_key": given})
        code = {"pipeline": self.pipeline.code_fingerprint}
        if fresh:
            return identity.run_key(name, self.params, {"fresh": uuid.uuid4().hex})
        if self.configuration is None:
            whole = {**self.params, "pipeline": self.pipeline.reference, **_told_apart(self.params)}
            return identity.run_key(name, whole, code)
        planned = {*self.configuration.plan.flat, "preset", "overrides"}
        others = {key: value for key, value in self.params.items() if key not in planned}
        return identity.run_key(
            name,
            {"sections": self.configuration.sections, **others, **_told_apart(others)},
            {**code, **self.configuration.fingerprints},
        )


def prepare(pipeline: str, params: Mapping[str, Any]) -> Prepared:
    """Everything checked that can be without reading the data; nothing started.

    Args:
        pipeline: A pipeline's name, `package.module:function`, or `file.py[:function]`.
        params: As typed; a table is kept in the store, under a name that is the hash of what it holds.

    Raises:
        NotFound: no such pipeline.
        InvalidSpec: a parameter is wrong, or the configuration that the parameters make.
    """
    chosen = find(pipeline)
    inputs = inputs_of(chosen.function.pipeline_spec)
    written = chosen.function.component_spec.inputs or {}
    ordered = {name: inputs[name] for name in written if name in inputs}  # as the pipeline's author wrote them
    given = check_params(ordered, params, pipeline=chosen.name, keep=_keep)
    if chosen.plan is not None:
        given = chosen.plan.take_along(given, pin)
    checked, hidden = references.hide(_absolute_data(given))
    return Prepared(chosen, checked, hidden, resolve(chosen, checked) if chosen.plan is not None else None)


def _keep(name: str, table: Any) -> str:
    """A table's URI in this machine's store, which is started where there is none."""
    from shipway import tables
    from shipway.local.store import open_store, prepare_store

    prepare_store()
    return tables.keep(name, table, open_store())


def _absolute_data(params: dict[str, Any]) -> dict[str, Any]:
    """`data` as it is found from anywhere: an address, or several by name."""
    data = params.get("data")
    if isinstance(data, Mapping):
        return {**params, "data": {name: _absolute(place) for name, place in data.items()}}
    return {**params, "data": _absolute(data)} if "data" in params else params


def _absolute(place: Any) -> Any:
    if not isinstance(place, str) or not place or "://" in place or redaction.is_reference(place):
        return place
    return str(Path(place).expanduser().absolute())


def _told_apart(params: Mapping[str, Any]) -> dict[str, str]:
    """Keeps runs apart that differ in a secret alone: by a key of this home, so that a run's name tells nothing."""
    real = references.reveal_all(params)
    if real == params:
        return {}
    path = Context.current().make_home() / "key"
    if not path.exists():
        private.write_text(path, secrets.token_hex(32))
    key = path.read_text(encoding="utf-8").encode()
    return {"secrets": hmac.new(key, canonical_json(real).encode(), "sha256").hexdigest()}
