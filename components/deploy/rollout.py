"""One version's way to the endpoint: candidate, check, takeover, check again, champion.

Nothing here trusts the step that ran before: typed again after a crash at any point, it ends in the same state.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shipway.artifacts import EvaluationRecord
from shipway.artifacts.base import SEAL, check_seal, seal_of
from shipway.components.deploy.core import CheckResult, candidate_name, inference_service, predict_url
from shipway.components.deploy.parity import KeptRows, check_endpoint, kept_rows
from shipway.components.deploy.spec import EndpointSpec
from shipway.context import Context
from shipway.errors import CorruptArtifact, InvalidSpec, JobFailed, NotFound, ShipwayError
from shipway.executors import Executor, Handle, Manifest, Outcome
from shipway.recipes import check_recipe_allowed
from shipway.registry import ModelVersion, Registry


class CheckFailed(ShipwayError):
    """The new version does not answer as it was evaluated; what was served before still is."""


@dataclass
class Deployment:
    """What a deployment did.

    Attributes:
        url: Base URL of the endpoint.
        before: Version that was served before; None: none.
        checks: "candidate" and "endpoint" -> result.
        is_adopted: This version was served already.
    """

    spec: EndpointSpec
    version: ModelVersion
    url: str = ""
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
        evaluation: Where the kept predictions are; default the version's own.
        on_job: Told of each service as it is started, with what ends it when the step is cancelled.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        version: ModelVersion,
        executor: Executor,
        registry: Registry,
        evaluation: EvaluationRecord | None = None,
        on_job: OnJob = lambda _name, _cancel: None,
    ) -> None:
        if spec.name != version.name:
            raise InvalidSpec(f"endpoint.name: {spec.name!r}, but version {version.version} is of {version.name!r}")
        found = evaluation or version.evaluation
        if found is None:
            raise NotFound(f"models: version {version.version} of {version.name} has no evaluation to check against")
        if found.model_digest != version.digest:
            raise InvalidSpec(
                f"evaluation: it is of model {found.model_digest}, version {version.version} is {version.digest}"
            )
        check_recipe_allowed(version.model.recipe, f"version {version.version} of {version.name}", spec.recipes)
        self.spec, self.version, self.evaluation = spec, version, found
        self.executor, self.registry, self.on_job = executor, registry, on_job
        self.key = f"endpoints/{spec.name}.json"

    def run(self) -> Deployment:
        """Deploys.

        Raises:
            CheckFailed: names the row; the version before is served, the candidate is gone.
            JobFailed: the version does not come up; ditto.
        """
        recorded = self._recorded()
        before = recorded.get("version")
        result = Deployment(self.spec, self.version, before=int(before) if before is not None else None)
        kept = kept_rows(self.evaluation, self.spec.check_rows)
        manifest = self._manifest(self.spec.name)
        result.is_adopted = (
            recorded.get("manifest", {}).get("metadata", {}).get("annotations") == (manifest["metadata"]["annotations"])
        )
        if not result.is_adopted:
            self._try_candidate(kept, result)
        self._take_over(manifest, recorded, kept, result)
        return result

    def _try_candidate(self, kept: KeptRows, result: Deployment) -> None:
        """The new version as a second endpoint, gone again whatever the check says."""
        manifest = self._manifest(candidate_name(self.spec.name))
        handle = self.executor.ensure(manifest)
        self.on_job(handle.name, lambda: self.executor.cancel(handle))
        try:
            outcome = self._ready(handle)
            result.seconds["candidate ready"] = outcome.seconds
            result.checks["candidate"] = self._checked(outcome.url, kept, "the version before goes on being served")
        finally:
            self.executor.cancel(handle)

    def _take_over(self, manifest: Manifest, recorded: dict[str, Any], kept: KeptRows, result: Deployment) -> None:
        old = recorded.get("manifest")
        handle = self.executor.ensure(manifest)
        self.on_job(handle.name, None)  # an endpoint outlives its step: a cancelled step leaves one that is whole
        try:
            outcome = self._ready(handle)
            result.seconds["takeover"] = outcome.seconds
            result.url = outcome.url
            result.checks["endpoint"] = self._checked(outcome.url, kept, "the version before is served again")
        except BaseException:
            self._undo(handle, old if not result.is_adopted else None, result)
            raise
        self.registry.promote(
            self.spec.name, self.version.version, reason="deployed and checked", run=Context.current().run
        )
        self._record(manifest, result)

    def _undo(self, handle: Handle, old: Manifest | None, result: Deployment) -> None:
        """Back to the version before; an endpoint that never served a checked version is taken away."""
        if old is not None:
            self.executor.follow(self.executor.ensure(old), deadline_s=self.spec.deadline_s)
        elif not result.is_adopted:
            self.executor.cancel(handle)

    def _ready(self, handle: Handle) -> Outcome:
        outcome = self.executor.follow(handle, deadline_s=self.spec.deadline_s)
        if outcome.state == "Ready":
            return outcome
        error = JobFailed(f"deploy: {outcome.message or f'{handle.name} is {outcome.state}'}")
        if failure := outcome.first_failure:
            error.__dict__.update(
                replica=failure.replica, exit_code=failure.exit_code, last_lines=list(failure.last_lines)
            )
        raise error

    def _checked(self, url: str, kept: KeptRows, then: str) -> CheckResult:
        found = check_endpoint(
            predict_url(url, self.spec.name, "v1"), kept, self.version.model.tolerance, self.version.version
        )
        if not found.passed:
            raise CheckFailed(f"deploy.check: version {self.version.version} at {url}: {found.reason}; {then}")
        return found

    def _manifest(self, endpoint: str) -> Manifest:
        context = Context.current()
        calibrated = self.evaluation.threshold.value if self.evaluation.threshold else None
        threshold = self.spec.threshold if self.spec.threshold is not None else calibrated
        return inference_service(
            self.spec,
            endpoint=endpoint,
            version=self.version.version,
            model_uri=self.version.model.uri,
            model_digest=self.version.digest,
            recipe=self.version.model.recipe,
            threshold=threshold if self.spec.out_of_scope else None,
            store_uri=context.store_uri,
            run=context.run,
            namespace=context.namespace,
        )

    def _recorded(self) -> dict[str, Any]:
        """What the store says is served; empty for an endpoint that never was.

        Raises:
            CorruptArtifact: the record was edited.
        """
        try:
            record = json.loads(self.registry.store.get(self.key))
        except NotFound:
            return {}
        except ValueError as error:
            raise CorruptArtifact(f"{self.key}: not JSON ({error}); remove it and deploy again") from error
        if not isinstance(record, dict):
            raise CorruptArtifact(f"{self.key}: not an endpoint's record; remove it and deploy again")
        if SEAL not in record:  # its manifest is played again where a check fails: only if it is as we wrote it
            print(f"{self.key}: no seal, an earlier Shipway wrote it: deployed as for the first time", flush=True)
            return {}
        check_seal(record, "record of an endpoint", f"{self.key} (remove it to deploy as for the first time)")
        return record

    def _record(self, manifest: Manifest, result: Deployment) -> None:
        record: dict[str, Any] = {
            "name": self.spec.name,
            "model": self.spec.name,
            "version": self.version.version,
            "digest": self.version.digest,
            "url": result.url,
            "predict_url": result.predict_url,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "previous_version": result.before,
            "run": Context.current().run,
            "manifest": manifest,
        }
        record[SEAL] = seal_of(record)
        self.registry.store.put(self.key, json.dumps(record, indent=1, sort_keys=True).encode())
