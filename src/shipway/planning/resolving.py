"""Preset < overrides < flat parameters, merged and validated into one spec per section."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from shipway.canonical import canonical_json
from shipway.code import pin
from shipway.errors import InvalidSpec
from shipway.planning.base import Plan
from shipway.planning.finder import Pipeline
from shipway.planning.presets import DEFAULT, read_preset
from shipway.yaml_text import load_yaml

if TYPE_CHECKING:
    from shipway.context import Context


@dataclass(frozen=True)
class Configuration:
    """A pipeline's validated configuration: made once in a process, and handed on.

    Attributes:
        plan: The pipeline's.
        specs: Section -> its spec, settled.
        settled: What a person should know of what was settled.
    """

    plan: Plan
    specs: Mapping[str, Any]
    settled: Sequence[str] = ()

    @cached_property
    def notes(self) -> list[str]:
        """What a person should know of what was settled, and of the data; reads its head, once.

        Raises:
            UserError: the data does not fit the specs.
        """
        return [*self.settled, *self.plan.check_head(self.specs)]

    @cached_property
    def sections(self) -> dict[str, str]:
        """One canonical JSON string per section: a step's cache key holds what it depends on and nothing else."""
        return {name: canonical_json(spec) for name, spec in self.specs.items()}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Hashes of data and code, once the data's head was looked at."""
        _ = self.notes  # data that does not fit is refused before it is read as a whole
        return self.plan.fingerprints(self.specs)

    @property
    def outputs(self) -> dict[str, str]:
        """All that the plan task gives out."""
        return {**self.sections, **self.fingerprints}

    def check_cluster(self, context: Context, *, patience_s: float | None = None) -> None:
        """Has the cluster judge, before anything starts, what later steps will create; asks nothing of processes.

        Args:
            context: Whose executor and namespace count.
            patience_s: How long an API server may be away; None: as long as a job's follower bears it.

        Raises:
            UserError: a kind that the cluster does not know, a missing permission or quota, what a webhook refuses.
            Conflict: something of the same name that somebody else made.
        """
        if context.executor != "kubernetes":
            return
        from shipway.executors.kubernetes import KubernetesExecutor
        from shipway.executors.kubernetes.api import PATIENCE_S, Api

        self.plan.check_cluster(self.specs, KubernetesExecutor(context, Api(patience_s=patience_s or PATIENCE_S)))


def resolve(pipeline: Pipeline, params: Mapping[str, Any]) -> Configuration:
    """The validated configuration of a pipeline that has a plan.

    Args:
        pipeline: As `find` gives it.
        params: Flat parameters as typed in the UI, on the command line or in Python.

    Raises:
        InvalidSpec: says the field's path, what it got, what it may be, and the nearest right name.
    """
    plan, folder = pipeline.plan, pipeline.folder
    assert plan is not None and folder is not None, f"{pipeline.name} has no plan"  # noqa: PT018 - one fact
    params = plan.take_along(params, pin)  # typed into the UI's form, nobody has looked it up yet
    overrides = _read_overrides(plan, params.get("overrides"))
    preset = str(params.get("preset") or DEFAULT)
    start = read_preset(folder, preset)
    _refuse_unknown(plan, start, f"preset {preset}: ")
    document = merge(plan.start_from(start, params, overrides), overrides, plan.whole)
    for flat, places in plan.flat.items():
        value = params.get(flat)
        if value not in (None, "", 0):
            for section, field in places:
                document = merge(document, {section: _nested(field.split("."), value)})
    plan.check_given(params, overrides)
    _refuse_ignored(plan, params, overrides)
    return Configuration(plan, *plan.settle(plan.specs(document)))


def merge(base: Mapping[str, Any], over: Mapping[str, Any], whole: Collection[str] = ()) -> dict[str, Any]:
    """`over` laid on `base`; mappings merge, everything else is replaced. Neither argument is changed.

    Args:
        base: Mapping of fields.
        over: Fields that win.
        whole: Fields whose mappings are replaced too: who names what to search means that and nothing else.
    """
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping) and key not in whole
        merged[key] = merge(cast(Mapping[str, Any], known), value, whole) if both else value
    return merged


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    """`{"input": {"column": value}}` for the path of `input.column`."""
    return {path[0]: value if len(path) == 1 else _nested(path[1:], value)}


def _read_overrides(plan: Plan, given: Any) -> Mapping[str, Any]:
    overrides = given or {}
    if isinstance(overrides, str):
        overrides = load_yaml(overrides, "overrides") or {}
    if not isinstance(overrides, Mapping):
        raise InvalidSpec(field="overrides", given=overrides, allowed="a mapping of sections")
    _refuse_unknown(plan, overrides, "overrides.")
    return overrides


def _refuse_unknown(plan: Plan, document: Mapping[str, Any], where: str) -> None:
    for section, fields in document.items():
        if not isinstance(fields, Mapping):
            raise InvalidSpec(field=f"{where}{section}", given=fields, allowed="a mapping of fields")
        if section not in plan.sections:
            raise InvalidSpec("unknown section", field=f"{where}{section}", given=str(section), allowed=plan.sections)


def _refuse_ignored(plan: Plan, params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Refuses an override of what a flat parameter decides: left alone it would be ignored without a word."""
    for flat in plan.decided:
        for section, field in plan.flat[flat]:
            given = overrides.get(section, {}).get(field)
            if given not in (None, params.get(flat)):
                raise InvalidSpec(
                    f"it is always the parameter {flat} ({params.get(flat)!r}), got",
                    field=f"overrides.{section}.{field}",
                    given=given,
                    fix=f"leave it out, or give {flat}={given}",
                )
