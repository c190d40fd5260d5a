"""One version's way to the endpoint: candidate, check, champion, takeover, check again.

The champion moves before the endpoint does, and only from the one that was judged: of two deployments at once the
second finds another champion, and has changed nothing that is served. Nothing here trusts the step that ran before:
typed again after a crash at any point, it ends in the same state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shipway import labels
from shipway.artifacts import EvaluationRecord
from shipway.artifacts.base import SEAL, check_seal, seal_of
from shipway.code.given import given
from shipway.components.deploy.core import CheckResult, Kept, example_body, inference_service, predict_url
from shipway.components.deploy.parity import check_endpoint, kept_rows
from shipway.components.deploy.spec import EndpointSpec, check_spec
from shipway.context import Context
from shipway.errors import Conflict, CorruptArtifact, InvalidSpec, NotFound, ShipwayError, Superseded
from shipway.executors import Executor, Handle, Manifest, Outcome, identity, raise_for
from shipway.executors.base import REPLACED
from shipway.inputs import input_of
from shipway.recipes import load_stored_recipe
from shipway.registry import ModelVersion, Registry, Standing
from shipway.specs import parse
from shipway.tasks import task_of

# Of what was served before, these are taken from the settings of now: what runs is a person's word, not the store's.
_WHAT_RUNS = ("name", "image", "recipes", "code", "service_account", "store_secret", "pod_security", "node_selector")


class CheckFailed(ShipwayError):
    """The new version does not answer as it was evaluated; what was served before still is."""


@dataclass
class Deployment:
    """What a deployment did.

    Attributes:
        url: Base URL of the endpoint.
        body: A request that a person may ask it with.
        before: Version that was served before; None: none.
        checks: "candidate" and "endpoint" -> result.
        is_adopted: This version was served already.
    """

    spec: EndpointSpec
    version: ModelVersion
    url: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    before: int | None = None
    checks: dict[str, CheckResult] = field(default_factory=dict)
    is_adopted: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def predict_url(self) -> str:
        return predict_url(self.url, self.spec.name, self.spec.protocol)


OnJob = Callable[[str, Callable[[], None] | None], None]


class Rollout:
    """Brings one registered version behind an endpoint.

    Args:
        spec: The endpoint.
        version: The version, with its evaluation.
        executor: That plays the manifests.
        registry: Whose champion moves, and in whose store the endpoint is recorded.
        evaluation: Where the kept predictions are; default, and where it scored other bytes, the version's own.
        on_job: Told of each service as it is started, with what ends it when the step is cancelled.
        judged: `sequence` of the champion that the version was judged against; None: the champion there is now.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        version: ModelVersion,
        executor: Executor,
        registry: Registry,
        evaluation: EvaluationRecord | None = None,
        on_job: OnJob = lambda _name, _cancel: None,
        judged: int | None = None,
    ) -> None:
        if spec.name != version.name:
            raise InvalidSpec(
                f"{spec.name!r}, but version {version.version} is of {version.name!r}", field="endpoint.name"
            )
        self.spec, self.version, self.evaluation = spec, version, _scored(version, evaluation)
        self.answers = _settings(spec, version, self.evaluation)
        self.executor, self.registry, self.on_job = executor, registry, on_job
        self.key = f"endpoints/{spec.name}.json"
        self.judged = registry.champion(spec.name).sequence if judged is None else judged

    def run(self) -> Deployment:
        """Deploys.

        Raises:
            CheckFailed: names the row; the version before is served, the candidate is gone.
            JobFailed: the version does not come up; ditto.
            Superseded: there is another champion by now, or another deployment took the endpoint.
        """
        champion = self._check_verdict()
        recorded, etag = self._recorded()
        before = recorded.get("version")
        result = Deployment(self.spec, self.version, before=int(before) if before is not None else None)
        kept = kept_rows(
            self.evaluation, self.version.model, self.spec.check_rows, settings=self.answers, recipes=self.spec.recipes
        )
        example = self.evaluation.example if self.evaluation.example is not None else kept.instances[0]
        result.body = example_body(kept.kind, example, self.spec.protocol)
        manifest = self._manifest(self.spec.name, self.spec, self.version, self.answers)
        result.is_adopted = recorded.get("spec_hash") == manifest["metadata"]["annotations"][labels.SPEC_HASH]
        try:
            if not result.is_adopted:
                self._try_candidate(kept, result)
            champion = self.registry.move_champion(
                self.spec.name,
                self.version.version,
                seen=self.judged,
                how="deploy",
                reason="candidate checked",
                run=Context.current().run,
            )
            self._take_over(manifest, recorded, kept, result)
            self._check_crown(champion)
            self._record(manifest, result, etag)
        except BaseException as error:
            self._give_up(champion, error, result)
            raise
        return result

    def _give_up(self, champion: Standing, error: BaseException, result: Deployment) -> None:
        """No champion that is not served: the move is taken back, be it this attempt's or that of one that was killed.

        Raises:
            Superseded: another deployment has moved the champion since.
        """
        is_ours = champion.version == self.version.version and champion.move and champion.move.how == "deploy"
        if not is_ours or result.before == self.version.version or self.registry.take_back(champion):
            return
        self._leave_to_others()
        if isinstance(error, Exception):
            raise self._superseded() from error

    def _check_verdict(self) -> Standing:
        """The champion; stops before any work where the verdict is stale already."""
        champion = self.registry.champion(self.spec.name)
        if champion.version != self.version.version and champion.sequence != self.judged:
            raise self._superseded()
        return champion

    def _check_crown(self, crowned: Standing) -> None:
        champion = self.registry.champion(self.spec.name)
        if champion.move != crowned.move:
            raise self._superseded()

    def _superseded(self) -> Superseded:
        champion = self.registry.champion(self.spec.name)
        there = f"version {champion.version}" if champion.version else "none"
        return Superseded(
            f"deploy: the champion of {self.spec.name} was moved meanwhile and is {there} now; version "
            f"{self.version.version} was not judged against that: run again, or deploy it by hand: "
            f"shipway endpoints deploy {self.spec.name} {self.version.version}"
        )

    def _leave_to_others(self) -> None:
        """Another deployment is ahead: where it has been through, and we came behind it, the endpoint is given back."""
        recorded, _ = self._recorded()
        champion = self.registry.champion(self.spec.name)
        if recorded and recorded.get("version") == champion.version:
            self.executor.follow(self.executor.ensure(self._before(recorded)), deadline_s=self.spec.deadline_s)

    def _try_candidate(self, kept: Kept, result: Deployment) -> None:
        """The new version as a second endpoint, gone again whatever the check says."""
        candidate = identity.candidate_name(self.spec.name)
        manifest = self._manifest(candidate, self.spec, self.version, self.answers)
        handle = self.executor.ensure(manifest)
        self.on_job(handle.name, lambda: self.executor.cancel(handle))
        try:
            outcome = self._ready(handle)
            result.seconds["candidate ready"] = outcome.seconds
            result.checks["candidate"] = self._checked(outcome.url, kept)
        except Superseded:
            raise  # the endpoint is another deployment's candidate now
        except BaseException as error:
            self._end_with(error, lambda: self.executor.cancel(handle), self._still_served(result))
            raise
        self.executor.cancel(handle)

    def _take_over(self, manifest: Manifest, old: dict[str, Any], kept: Kept, result: Deployment) -> None:
        handle = self.executor.ensure(manifest)
        self.on_job(handle.name, None)  # an endpoint outlives its step: a cancelled step leaves one that is whole
        try:
            outcome = self._ready(handle)
            result.seconds["takeover"] = outcome.seconds
            result.url = outcome.url
            result.checks["endpoint"] = self._checked(outcome.url, kept)
        except Superseded:
            raise  # what is served there now is another deployment's
        except BaseException as error:
            if not result.is_adopted:
                then = f"{self._still_served(result)} again" if old else "nothing was served before, and nothing is now"
                self._end_with(error, lambda: self._undo(handle, old), then)
            raise

    def _still_served(self, result: Deployment) -> str:
        return f"version {result.before} is served" if result.before is not None else "nothing is served"

    def _end_with(self, error: BaseException, clean_up: Callable[[], None], then: str) -> None:
        """Cleans up, and says at the error's end what is served: only what was seen to be so."""
        try:
            clean_up()
        except ShipwayError as problem:
            then = f"and what was served before could not be brought back: {problem}"
        if isinstance(error, ShipwayError):
            error.args = (f"{error}; {then}",)

    def _undo(self, handle: Handle, old: dict[str, Any]) -> None:
        """Back to the version before; an endpoint that never served a checked version is taken away."""
        if not old:
            self.executor.cancel(handle)
            return
        before = self.executor.ensure(self._before(old))
        raise_for(self.executor.follow(before, deadline_s=self.spec.deadline_s), before)

    def _ready(self, handle: Handle) -> Outcome:
        outcome = self.executor.follow(handle, deadline_s=self.spec.deadline_s)
        failure = outcome.first_failure
        if outcome.state != "Ready" and failure is not None and failure.reason == REPLACED:
            raise Superseded(f"deploy: {outcome.message}: another deployment of {self.spec.name} runs; run again")
        raise_for(outcome, handle)
        return outcome

    def _checked(self, url: str, kept: Kept) -> CheckResult:
        result = check_endpoint(
            predict_url(url, self.spec.name, "v1"), kept, self.version.model.served.tolerance, self.version.version
        )
        if not result.passed:
            raise CheckFailed(f"deploy.check: version {self.version.version} at {url}: {result.reason}")
        return result

    def _before(self, recorded: dict[str, Any]) -> Manifest:
        """The manifest of what was served, made anew: what lies in the store is not what runs.

        Raises:
            CorruptArtifact: the record and the registry are of different models, or the version was edited.
            InvalidSpec: its recipe is not allowed here.
        """
        version = self.registry.get(self.spec.name, int(recorded["version"]))
        pins = {"digest": version.digest, "variant_digest": version.model.served.digest}
        if any(recorded.get(name) != pin for name, pin in pins.items()) or version.evaluation is None:
            raise CorruptArtifact(f"{self.key}: it is not about version {version.version}; remove it and deploy again")
        ours = {name: getattr(self.spec, name) for name in _WHAT_RUNS}
        spec = parse(EndpointSpec, {**recorded["spec"], **ours}, self.key)
        answers = _settings(spec.model_copy(update={"answers": recorded["answers"]}), version, version.evaluation)
        return self._manifest(self.spec.name, spec, version, answers)

    def _manifest(
        self, endpoint: str, spec: EndpointSpec, version: ModelVersion, answers: Mapping[str, Any]
    ) -> Manifest:
        context = Context.current()
        return inference_service(
            spec,
            endpoint=endpoint,
            version=version.version,
            model_uri=version.model.uri,
            model_digest=version.digest,
            variant_digest=version.model.served.digest,
            recipe=version.model.recipe,
            code=spec.code or given(),
            answers=answers,
            store_uri=context.store_uri,
            run=context.run,
            namespace=context.namespace,
        )

    def _recorded(self) -> tuple[dict[str, Any], str | None]:
        """What the store says is served, and its ETag; empty for an endpoint that never was.

        Raises:
            CorruptArtifact: the record was edited.
        """
        versioned = self.registry.store.get_versioned(self.key)
        if versioned is None:
            return {}, None
        try:
            record = json.loads(versioned[0])
        except ValueError as error:
            raise CorruptArtifact(f"{self.key}: not JSON ({error}); remove it and deploy again") from error
        if not isinstance(record, dict):
            raise CorruptArtifact(f"{self.key}: not an endpoint's record; remove it and deploy again")
        is_whole = SEAL in record and isinstance(record.get("version"), int)
        is_whole = is_whole and all(isinstance(record.get(name), dict) for name in ("spec", "answers"))
        is_whole = is_whole and "variant_digest" in record
        if SEAL in record:
            check_seal(record, "record of an endpoint", f"{self.key} (remove it to deploy as for the first time)")
        if not is_whole:
            lacking = "no seal, settings or variant: an earlier Shipway wrote it"
            print(f"{self.key}: {lacking}: deployed as for the first time", flush=True)
            return {}, versioned[1]
        return record, versioned[1]

    def _record(self, manifest: Manifest, result: Deployment, etag: str | None) -> None:
        record: dict[str, Any] = {
            "name": self.spec.name,
            "model": self.spec.name,
            "version": self.version.version,
            "digest": self.version.digest,
            "variant": self.version.model.serving,
            "variant_digest": self.version.model.served.digest,
            "url": result.url,
            "predict_url": result.predict_url,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "previous_version": result.before,
            "run": Context.current().run,
            "spec": self.spec.model_dump(mode="json"),
            "recipe": self.version.model.recipe,
            "answers": self.answers,
            "spec_hash": manifest["metadata"]["annotations"][labels.SPEC_HASH],
        }
        record[SEAL] = seal_of(record)
        try:
            self.registry.store.compare_and_swap(self.key, json.dumps(record, indent=1, sort_keys=True).encode(), etag)
        except Conflict:  # the same command, typed twice at once, says the same
            if self._recorded()[0].get("version") != self.version.version:
                raise self._superseded() from None


def _scored(version: ModelVersion, given: EvaluationRecord | None) -> EvaluationRecord:
    """The evaluation of what the version serves.

    A second training may be equal to the one that was registered, and its variant have other bytes: the given
    evaluation is of those, and the version's own of what is served.

    Raises:
        NotFound: there is none.
        InvalidSpec: the given one is of another model.
    """
    if given is not None and given.model_digest != version.digest:
        raise InvalidSpec(
            f"it is of model {given.model_digest}, version {version.version} is {version.digest}", field="evaluation"
        )
    if given is not None and given.variant_digest == version.model.served.digest:
        return given
    if version.evaluation is None:
        raise NotFound(
            f"version {version.version} of {version.name} has no evaluation of its variant {version.model.serving} to "
            "check against",
            field="models",
        )
    return version.evaluation


def _settings(spec: EndpointSpec, version: ModelVersion, evaluation: EvaluationRecord) -> dict[str, Any]:
    """How the version answers: what the evaluation found, under what the spec says.

    Raises:
        InvalidSpec: the version's recipe is not allowed here, or the spec says what its task or input does not know.
    """
    where = f"version {version.version} of {version.name}"
    recipe = load_stored_recipe(version.model.recipe, where, spec.recipes, version.model.code)
    task = task_of(recipe)
    settings = {**evaluation.settings, **check_spec(spec, task, input_of(recipe))}
    return parse(task.answers.Settings, settings, "answers").model_dump(mode="json")
