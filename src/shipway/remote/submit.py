"""Starting a run: the right version, parameters of the right type, exactly once."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import kfp_server_api as kfp

from shipway import redaction, references, step_pod
from shipway.code import pin, upload_packed
from shipway.dag import titles_of
from shipway.errors import InvalidSpec, NotFound, ShipwayError, nearest
from shipway.parameters import check_params, inputs_of
from shipway.person import check_key, check_starter, who_types
from shipway.remote.api import Api
from shipway.remote.content import current_of, platform_of, spec_of, version_name
from shipway.remote.once import create_once
from shipway.remote.records import HOW, cluster_store
from shipway.remote.secrets import check_secrets
from shipway.remote.started import describe, marked, read_starter

if TYPE_CHECKING:
    from shipway.planning import Pipeline
    from shipway.remote.kubeflow_run import KubeflowRun

SETTLE_S = 2.0  # Kubeflow's clock has whole seconds: until all that were created in one of them can be seen


@dataclass(frozen=True)
class Target:
    """A published pipeline version."""

    pipeline: str
    version: str
    pipeline_id: str
    version_id: str
    spec: dict[str, Any] = field(repr=False)
    platform: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """The pipeline's parameters."""
        return inputs_of(self.spec)

    @property
    def documents(self) -> list[dict[str, Any]]:
        """As a compiled file holds them."""
        return [self.spec, *([self.platform] if self.platform else [])]


@dataclass(frozen=True)
class Submission:
    """What is about to be started: what `--dry-run` shows."""

    target: Target
    params: dict[str, Any]
    experiment: str
    name: str
    started_by: str
    key: str  # idempotency key; empty for none
    tasks: dict[str, str]  # task -> display name
    notes: tuple[str, ...] = ()  # what could not be looked at


def find_target(api: Api, pipeline: str, version: str | None = None) -> Target:
    """The version to run.

    Args:
        api: Kubeflow.
        pipeline: A published pipeline's name; that of its folder (`train_and_deploy`) does too.
        version: A version's name, or its number; None for the current one.

    Raises:
        NotFound: no such pipeline or version; names the nearest.
    """
    name, _, wanted = pipeline.partition("@")
    wanted = version or wanted
    owner = api.find_pipeline(name) or api.find_pipeline(name.replace("_", "-"))
    if owner is None:
        names = [str(known.name or known.display_name) for known in api.pipelines()]
        raise NotFound(
            f"{name!r} is not published at {api.settings.url}; there are "
            f"{', '.join(names) or 'none'}{nearest(name.replace('_', '-'), names)}; `shipway "
            f"publish {name}` publishes",
            field="pipeline",
            given=name,
        )
    owner_name = str(owner.name or owner.display_name)
    versions = api.versions(owner.pipeline_id)
    if not versions:
        raise NotFound(f"{owner_name} has no version yet; `shipway publish {name}` publishes one", field="pipeline")
    chosen = _choose(versions, owner_name, wanted) if wanted else current_of(versions)
    whole = api.version(owner.pipeline_id, chosen.pipeline_version_id)
    return Target(
        pipeline=owner_name,
        version=str(chosen.name or chosen.display_name),
        pipeline_id=owner.pipeline_id,
        version_id=chosen.pipeline_version_id,
        spec=spec_of(whole.pipeline_spec or {}),
        platform=platform_of(whole.pipeline_spec or {}),
    )


def _choose(versions: list[Any], owner_name: str, wanted: str) -> Any:
    names = {str(version.name or version.display_name): version for version in versions}
    chosen = names.get(wanted) or names.get(version_name(owner_name, wanted.removeprefix("v")))
    if chosen is None:
        raise NotFound(
            f"{owner_name} has no version {wanted!r}; there are {', '.join(names)}{nearest(wanted, names)}",
            field="version",
            given=wanted,
        )
    return chosen


def checked_params(target: Target, params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in the pipeline's own types, refused here rather than by a run.

    Raises:
        InvalidSpec: what `shipway.parameters` refuses; whatever its first step would refuse, where the pipeline's plan
            is here too.
    """
    checked = check_params(target.inputs, params, pipeline=target.version, keep=_keep)
    _refuse_local_data(target, checked)
    here = _pipeline_of(target)
    if here is not None and here.plan is not None:
        checked = here.plan.take_along(checked, _pinned_code)
        _check_as_its_plan_would(here, checked)
    _warn_of_secrets(checked)
    return checked


def _keep(name: str, table: Any) -> str:
    """A table's URI in the cluster's store."""
    from shipway import tables

    store = cluster_store()
    if store is None:
        raise InvalidSpec(
            f"a table has to be written to the cluster's store, and none is named here: {HOW}", field=name
        )
    return tables.keep(name, table, store)


def _refuse_local_data(target: Target, params: Mapping[str, Any]) -> None:
    """`data` is an address, or several by name."""
    data = params.get("data")
    if redaction.is_reference(data):
        _check_reference(target, str(data).removeprefix(references.PREFIX))
        return
    named = {f"data.{name}": place for name, place in data.items()} if isinstance(data, Mapping) else {"data": data}
    for where, place in named.items():
        if isinstance(place, str) and place and "://" not in place:
            raise InvalidSpec(
                f"{place!r} is a path on this machine, which the cluster does not see",
                field=where,
                given=place,
                fix=(
                    f"copy it to the cluster's store (SHIPWAY_STORE=s3://... shipway store cp {place} data/) and give "
                    "the s3:// address"
                ),
            )


def _check_reference(target: Target, variable: str) -> None:
    """A step on Kubeflow has no variable but those that its pipeline takes from Secrets."""
    given = {name for executor in step_pod.executors(target.documents) for name in _variables(target, executor)}
    if variable not in given:
        raise InvalidSpec(
            f"env:{variable}: no step of {target.version} is given {variable}",
            field="data",
            allowed=(
                f"env:{references.DATA}, an optional key of the pipeline's Secret (a version published "
                "before there was one: publish it again)"
            ),
        )


def _variables(target: Target, executor: str) -> set[str]:
    return {str(each.get("name")) for each in step_pod.step_environment(target.documents, executor)}


def _warn_of_secrets(params: Mapping[str, Any]) -> None:
    """A line for each parameter that holds a secret: a run's parameters are shown to all who may see the run."""
    ways = {
        "data": f"put it into the key {references.DATA} of the pipeline's Secret and give data=env:{references.DATA}",
        "webhook": "put it into the key SHIPWAY_WEBHOOK of the pipeline's Secret and leave webhook empty",
    }
    for name in references.secret_params(params):
        way = ways.get(name, "let the step take it from a Secret")
        print(
            f"warning: {name} holds a secret, and all who may see the run see its parameters: {way} "
            "(docs/kubeflow.md, Secrets)",
            file=sys.stderr,
        )


def _pinned_code(given: str) -> str:
    """Code as the cluster finds it, with its hash: in the cluster's store, whether it lies here or at some address.

    Raises:
        InvalidSpec: it lies here, and no store is named.
    """
    if cluster_store() is not None:
        pinned = pin(given)
        upload_packed(pinned)
        return pinned
    if "://" in given:
        return given  # the run's first step looks its hash up
    raise InvalidSpec(
        f"{given!r} lies on this machine, which the cluster does not see: {HOW}, to have it put "
        "there, or put it there yourself and give the s3:// address",
        field="code",
        given=given,
    )


def _pipeline_of(target: Target) -> Pipeline | None:
    """The pipeline of this machine whose plan is the published version's own; None where it is not here."""
    from shipway.planning import find_all

    here = next((each for each in find_all() if each.name == target.pipeline.replace("-", "_")), None)
    plan = here.plan if here is not None else None
    is_its = plan is not None and plan.version and target.version == version_name(target.pipeline, plan.version)
    return here if is_its else None


def _check_as_its_plan_would(pipeline: Pipeline, params: Mapping[str, Any]) -> None:
    """The whole configuration, as far as it can be looked at from here."""
    from shipway.planning import resolve

    if params.get("code") and cluster_store() is None:
        print("note: no store is named here, so that the run's first step checks the code", file=sys.stderr)
    else:
        resolve(pipeline, params)


def prepare(
    api: Api,
    pipeline: str,
    params: Mapping[str, Any],
    *,
    version: str | None = None,
    experiment: str | None = None,
    name: str | None = None,
    started_by: str | None = None,
    key: str = "",
) -> Submission:
    """Everything checked, nothing started; a table among the parameters is written to the cluster's store."""
    by, key = _starter(started_by), check_key(key) if key else ""
    target = find_target(api, pipeline, version)
    checked = checked_params(target, params)
    readable = name or " ".join(filter(None, [target.pipeline, str(checked.get("name", ""))]))
    return Submission(
        target=target,
        params=checked,
        experiment=experiment or api.settings.experiment,
        name=marked(readable, key),
        started_by=by,
        key=key,
        tasks=titles_of(target.spec),
        notes=check_secrets(api.settings, target),
    )


def prepare_clone(api: Api, run: KubeflowRun, changes: Mapping[str, Any]) -> Submission:
    """A run's version and parameters, with changes; nothing started.

    Raises:
        InvalidSpec: a changed parameter is wrong, or the run's pipeline was never uploaded.
    """
    if not run.pipeline_version_id:
        raise InvalidSpec(
            f"run {run.key} runs no published version",
            field="clone",
            fix="start it where it was started, or publish it",
        )
    whole = api.version(run.pipeline_id, run.pipeline_version_id)
    owner = whole.name or whole.display_name
    spec = spec_of(whole.pipeline_spec or {})
    target = Target(
        pipeline=str((spec.get("pipelineInfo") or {}).get("name", owner)),
        version=str(owner),
        pipeline_id=run.pipeline_id,
        version_id=run.pipeline_version_id,
        spec=spec,
        platform=platform_of(whole.pipeline_spec or {}),
    )
    return Submission(
        target=target,
        params=checked_params(target, {**run.params, **changes}),
        experiment=api.settings.experiment,
        name=marked(f"clone of {run.name.rpartition(' ')[0] or run.name}"),
        started_by=_starter(None),
        key="",
        tasks=titles_of(spec),
        notes=check_secrets(api.settings, target),
    )


def _starter(given: str | None) -> str:
    if given is not None:
        return check_starter(given)
    if known := who_types():
        return known
    raise ShipwayError("who are you? no user name is known; set USER, or say started_by=")


def start(api: Api, submission: Submission, *, service_account: str | None = None) -> tuple[Any, bool]:
    """Starts the run exactly once: the mark in its name is looked for before anything is sent a second time.

    Returns:
        The run, and whether it is new; one of the same pipeline and idempotency key is returned instead.
    """
    if submission.key and (known := keyed_runs(api, submission)):
        return only_one(api, known), False
    body = kfp.V2beta1Run(
        display_name=submission.name,
        description=describe(submission.started_by, submission.key),
        experiment_id=api.experiment_id(submission.experiment),
        pipeline_version_reference=kfp.V2beta1PipelineVersionReference(
            pipeline_id=submission.target.pipeline_id, pipeline_version_id=submission.target.version_id
        ),
        runtime_config=kfp.V2beta1RuntimeConfig(parameters=dict(submission.params)),
        service_account=service_account,
    )
    made = create_once(
        f"run {submission.name!r}",
        lambda: api.create_run(body),
        lambda: next(iter(api.runs(1, submission.name)), None),
        api.patience,
    )
    if not submission.key:
        return made, True
    time.sleep(SETTLE_S)
    first = only_one(api, keyed_runs(api, submission) or [made])
    return first, first.run_id == made.run_id


def keyed_runs(api: Api, submission: Submission) -> list[Any]:
    """Runs of the same pipeline and idempotency key, the first one first."""
    keyed = [
        run
        for run in api.runs_with(submission.key)
        if str(run.display_name).endswith(f" {submission.key}")
        and read_starter(run)[1] == submission.key
        and run.pipeline_version_reference
        and run.pipeline_version_reference.pipeline_id == submission.target.pipeline_id
    ]
    return sorted(keyed, key=lambda run: (run.created_at, run.run_id))


def only_one(api: Api, runs: list[Any]) -> Any:
    """The first of a key's runs; of two that were submitted at the same moment, the second is deleted."""
    for other in runs[1:]:
        api.delete_run(other.run_id)
    return runs[0]
