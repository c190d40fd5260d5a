"""Kubeflow's API, call by call, with our errors: what the rest of this package is written in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import kfp_server_api as kfp
from kfp_server_api.exceptions import ApiException

from shipway.errors import InvalidSpec, LostAnswer, NotAllowed, NotFound, VersionConflict
from shipway.remote.confirm import confirm, confirm_created
from shipway.remote.http import LoginPage, RequestPatience, Transport
from shipway.remote.refused import explain
from shipway.remote.settings import Settings
from shipway.remote.started import with_key

PAGE = 100
NOBODY = "00000000-0000-4000-8000-000000000000"  # no id that Kubeflow draws


class Api:
    """The calls that we need.

    Every method raises NotAllowed (401, 403, a login page), NotFound (404), InvalidSpec (400), VersionConflict (409),
    KubeflowUnavailable, LostAnswer (only those that create), KubeflowError (anything else).
    """

    def __init__(self, settings: Settings, patience: RequestPatience | None = None) -> None:
        self.settings = settings
        self.patience = patience or RequestPatience()
        configuration = kfp.Configuration(host=settings.url)
        configuration.verify_ssl = settings.verify
        configuration.ssl_ca_cert = settings.ca or None
        configuration.cert_file, configuration.key_file = settings.client_cert or None, settings.client_key or None
        client = kfp.ApiClient(configuration)
        client.user_agent = "shipway"
        client.rest_client = Transport(configuration, settings.credentials, self.patience)
        self._specs: dict[str, dict[str, Any]] = {}
        self._leaves_runs: bool | None = None
        self._runs = kfp.RunServiceApi(client)
        self._pipelines = kfp.PipelineServiceApi(client)
        self._uploads = kfp.PipelineUploadServiceApi(client)
        self._experiments = kfp.ExperimentServiceApi(client)
        self._schedules = kfp.RecurringRunServiceApi(client)
        self._health = kfp.HealthzServiceApi(client)

    # Health

    def check(self) -> bool:
        """Whether Kubeflow serves several users; the cheapest call that shows that it is there and lets us in."""
        with self._explained("health"):
            return bool(self._health.healthz_service_get_healthz().multi_user)

    # Pipelines and their versions

    def pipelines(self) -> list[Any]:
        """All pipelines of the namespace, and shared ones."""
        with self._explained("pipelines"):
            return list(
                _pages(self._pipelines.pipeline_service_list_pipelines, "pipelines", namespace=self._namespace())
            )

    def find_pipeline(self, name: str) -> Any | None:
        """The pipeline of that name, or None."""
        try:
            with self._explained(f"pipeline {name}"):
                return self._pipelines.pipeline_service_get_pipeline_by_name(name, namespace=self._namespace())
        except NotFound:
            return None

    def create_pipeline(self, name: str, description: str) -> Any:
        """A pipeline without versions."""
        body = kfp.V2beta1Pipeline(
            name=name, display_name=name, description=description, namespace=self.settings.namespace or None
        )
        with self._explained(f"pipeline {name}"):
            made = self._pipelines.pipeline_service_create_pipeline(body)
        return confirm_created(f"pipeline {name}", body, made, lambda: self.find_pipeline(name))

    def versions(self, pipeline_id: str) -> list[Any]:
        """A pipeline's versions, the newest first."""
        with self._explained("pipeline versions"):
            return list(
                _pages(
                    self._pipelines.pipeline_service_list_pipeline_versions,
                    "pipeline_versions",
                    pipeline_id,
                    sort_by="created_at desc",
                )
            )

    def version(self, pipeline_id: str, version_id: str) -> Any:
        """One version, with its pipeline_spec."""
        with self._explained("pipeline version"):
            return self._pipelines.pipeline_service_get_pipeline_version(pipeline_id, version_id)

    def held_spec(self, pipeline_id: str, version_id: str) -> dict[str, Any]:
        """What a version holds, asked for once, since a version never changes.

        Raises:
            NotFound: it was deleted.
        """
        if version_id not in self._specs:
            self._specs[version_id] = dict(self.version(pipeline_id, version_id).pipeline_spec or {})
        return self._specs[version_id]

    def upload_version(
        self, file: Path, pipeline_id: str, name: str, description: str, tags: Mapping[str, str] | None = None
    ) -> Any:
        """A version from a compiled file; `tags` are kept where this Kubeflow has them."""
        sent = kfp.V2beta1PipelineVersion(pipeline_id=pipeline_id, name=name, description=description)
        with self._explained(f"pipeline version {name}"):
            made = self._uploads.upload_pipeline_version(
                str(file), name=name, display_name=name, pipelineid=pipeline_id, description=description,
                **({"tags": json.dumps(dict(tags))} if tags else {}),
            )  # fmt: skip
        return confirm_created(
            f"pipeline version {name}", sent, made, lambda: self.version(pipeline_id, made.pipeline_version_id)
        )

    def tag_version(self, version: Any, tags: Mapping[str, str]) -> Any:
        """Sets all tags of a version.

        Raises:
            Unsupported: this Kubeflow has no tags.
        """
        what, ids = f"pipeline version {version.name}", (version.pipeline_id, version.pipeline_version_id)
        body = kfp.V2beta1PipelineVersion(pipeline_id=ids[0], pipeline_version_id=ids[1], tags=dict(tags))
        with self._explained(what):
            self._pipelines.pipeline_service_update_pipeline_version(*ids, body)
        return confirm(what, lambda: self.version(*ids), lambda held: (held.tags or {}) == dict(tags), self.patience)

    # Experiments

    def experiment_id(self, name: str) -> str:
        """The experiment's id; it is made where there is none of that name."""
        experiment = self._find_experiment(name)
        if experiment is None:
            body = kfp.V2beta1Experiment(display_name=name, namespace=self.settings.namespace or None)
            try:
                with self._explained(f"experiment {name}"):
                    made = self._experiments.experiment_service_create_experiment(body)
                    held = confirm_created(f"experiment {name}", body, made, lambda: self._find_experiment(name))
                    return str(held.experiment_id)
            except (LostAnswer, VersionConflict):
                experiment = self._find_experiment(name)
                if experiment is None:
                    raise
        return str(experiment.experiment_id)

    def _find_experiment(self, name: str) -> Any | None:
        with self._explained(f"experiment {name}"):
            listed = self._experiments.experiment_service_list_experiments(
                page_size=1, filter=matching(display_name=name), namespace=self._namespace()
            )
        return (listed.experiments or [None])[0]

    # Runs

    def runs(self, limit: int, name: str | None = None) -> list[Any]:
        """The newest runs of the namespace that are not archived; of that display name where one is given."""
        chosen = matching(display_name=name) if name else matching("NOT_EQUALS", storage_state="ARCHIVED")
        return self._newest_runs(chosen, limit)

    def runs_with(self, key: str) -> list[Any]:
        """All runs of the namespace whose name holds an idempotency key, archived ones too."""
        return self._newest_runs(with_key(key), sys.maxsize)

    def _newest_runs(self, chosen: str, limit: int) -> list[Any]:
        """Those that a filter lets through, the newest first."""
        with self._explained("runs"):
            runs = _pages(
                self._runs.run_service_list_runs,
                "runs",
                namespace=self._namespace(),
                sort_by="created_at desc",
                filter=chosen,
                page_size=min(limit, PAGE),
            )
            return list(islice(runs, limit))

    def run(self, run_id: str) -> Any:
        """One run, with its tasks."""
        with self._explained(f"run {run_id}"):
            return self._runs.run_service_get_run(run_id)

    def create_run(self, run: Any) -> Any:
        """Starts a run."""
        with self._explained("run"):
            made = self._runs.run_service_create_run(run)
        return confirm_created(f"run {run.display_name!r}", run, made, lambda: self.run(made.run_id))

    def terminate(self, run_id: str) -> None:
        """Asks for the run's end.

        Raises:
            WorkflowGone: there is nothing left to end.
        """
        with self._explained(f"run {run_id}"):
            self._runs.run_service_terminate_run(run_id)
        self._confirm_run(run_id, lambda run: run.state not in ("PENDING", "RUNNING", "PAUSED"))

    def delete_run(self, run_id: str) -> None:
        """Deletes a run with its Workflow; one that is gone already is gone."""
        with suppress(NotFound), self._explained(f"run {run_id}"):
            self._runs.run_service_delete_run(run_id)

    def retry(self, run_id: str) -> None:
        """Starts the failed steps of a finished run again."""
        ended = self.run(run_id)
        with self._explained(f"run {run_id}"):
            self._runs.run_service_retry_run(run_id)
        self._confirm_run(run_id, lambda run: (run.state, run.finished_at) != (ended.state, ended.finished_at))

    def _confirm_run(self, run_id: str, holds: Callable[[Any], bool]) -> None:
        confirm(f"run {run_id}", lambda: self.run(run_id), holds, self.patience)

    def runs_of(self, recurring_run_id: str, limit: int, states: Sequence[str] = ()) -> list[Any]:
        """The newest runs that a recurring run started, deleted since or not; only those in `states` where given."""
        chosen = predicates(recurring_run_id=recurring_run_id)
        if states:
            chosen.append({"operation": "IN", "key": "state", "stringValues": {"values": list(states)}})
        return self._newest_runs(json.dumps({"predicates": chosen}), limit)

    # Recurring runs

    def recurring(self) -> list[Any]:
        """All recurring runs of the namespace, the newest first."""
        with self._explained("schedules"):
            return list(
                _pages(
                    self._schedules.recurring_run_service_list_recurring_runs,
                    "recurring_runs",
                    namespace=self._namespace(),
                    sort_by="created_at desc",
                )
            )

    def create_recurring(self, body: Any) -> Any:
        """Creates a recurring run."""
        what = f"schedule {body.display_name}"
        with self._explained(what):
            made = self._schedules.recurring_run_service_create_recurring_run(body)
        return confirm_created(what, body, made, lambda: self._one_recurring(made.recurring_run_id))

    def _one_recurring(self, recurring_run_id: str) -> Any:
        with self._explained("schedule"):
            return self._schedules.recurring_run_service_get_recurring_run(recurring_run_id)

    def set_recurring(self, recurring_run_id: str, *, enabled: bool) -> None:
        """Enables or disables a recurring run."""
        service = self._schedules
        with self._explained("schedule"):
            (
                service.recurring_run_service_enable_recurring_run
                if enabled
                else service.recurring_run_service_disable_recurring_run
            )(recurring_run_id)
        confirm(
            f"recurring run {recurring_run_id}",
            lambda: self._one_recurring(recurring_run_id),
            lambda held: (held.status == "ENABLED") is enabled,
            self.patience,
        )

    def delete_recurring(self, recurring_run_id: str) -> None:
        """Deletes a recurring run; one that is gone already is gone. Its runs go on, if `leaves_runs`."""
        try:
            with self._explained("schedule"):
                self._schedules.recurring_run_service_delete_recurring_run(
                    recurring_run_id, propagation_policy="ORPHAN"
                )
            confirm(
                f"recurring run {recurring_run_id}",
                lambda: self._one_recurring(recurring_run_id),
                lambda _: False,  # only its absence will do
                self.patience,
            )
        except NotFound:
            return

    @property
    def leaves_runs(self) -> bool:
        """Whether a recurring run can be deleted without its runs that go on; not before Kubeflow Pipelines 2.16.

        An older one ignores how it is told to delete, and one that heeds it refuses a way that there is not, before it
        looks for what to delete. That is asked of an id that nothing has.
        """
        if self._leaves_runs is None:
            try:
                with self._explained("schedule"):
                    self._schedules.recurring_run_service_delete_recurring_run(NOBODY, propagation_policy="NONE")
            except InvalidSpec:
                self._leaves_runs = True
            except NotFound:
                self._leaves_runs = False
        return bool(self._leaves_runs)

    # Errors

    def _namespace(self) -> str | None:
        return self.settings.namespace or None

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            raise explain(self.settings, what, error) from error
        except LoginPage as page:
            raise NotAllowed(
                f"Kubeflow at {self.settings.url} answers with a login page{f' ({page})' if str(page) else ''}: "
                f"{self.settings.credentials.describe()} is not accepted; {self.settings.credentials.renewal()}"
            ) from page


def predicates(operation: str = "EQUALS", **fields: str) -> list[dict[str, Any]]:
    """Every field compared with its text."""
    return [{"operation": operation, "key": key, "stringValue": text} for key, text in fields.items()]


def matching(operation: str = "EQUALS", **fields: str) -> str:
    """A filter of predicates."""
    return json.dumps({"predicates": predicates(operation, **fields)})


def _pages(call: Callable[..., Any], field: str, *arguments: Any, **options: Any) -> Iterator[Any]:
    token = ""
    options.setdefault("page_size", PAGE)
    options = {key: value for key, value in options.items() if value is not None}
    while True:
        answer = call(*arguments, page_token=token, **options)
        yield from getattr(answer, field) or []
        token = answer.next_page_token or ""
        if not token:
            return
