"""`shipway.connect()`: Kubeflow as an object, for notebooks, scripts and our own command line."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shipway.errors import InvalidSpec, KubeflowError, NotFound
from shipway.remote import settings as settings_module
from shipway.remote.api import Api
from shipway.remote.http import RequestPatience
from shipway.remote.kubeflow_run import KubeflowRun
from shipway.remote.refused import Unsupported
from shipway.remote.settings import Settings
from shipway.runs.facade import Run

if TYPE_CHECKING:
    from shipway.remote.generations import Schedule
    from shipway.remote.publish import Published
    from shipway.remote.recurring import PlannedSchedule
    from shipway.remote.retiring import Running
    from shipway.remote.slots import Slot
    from shipway.remote.submit import Submission


def connect(
    kfp: str | None = None,
    *,
    namespace: str | None = None,
    token: str | None = None,
    cookie: str | None = None,
    ca: str | None = None,
    verify: bool | None = None,
    experiment: str | None = None,
    patience: RequestPatience | None = None,
) -> Connection:
    """Kubeflow Pipelines, found and asked once whether it lets us in.

    Args:
        kfp: Its address; None for what SHIPWAY_KFP or ~/.config/shipway/kfp.yaml names, else the cluster around this
            process, a forwarded port (8888, 8080, 3000), or the kubeconfig's cluster.
        namespace: Your profile's, where Kubeflow serves several users.
        token: Bearer token; None for SHIPWAY_KFP_TOKEN, SHIPWAY_KFP_TOKEN_FILE, the file's token_file, or the
            ServiceAccount token that Kubeflow mounts for pipelines.
        cookie: Login cookie, `authservice_session=...`; None for SHIPWAY_KFP_COOKIE, or as kfp's own client remembers.
        ca: File of certificates to trust.
        verify: False to trust any certificate.
        experiment: Where runs go that name none.
        patience: How long requests are tried.

    Raises:
        KubeflowUnavailable: nothing found, or nobody answers.
        NotAllowed: it does not let us in.
    """
    address = settings_module.find(
        kfp, namespace=namespace, token=token, cookie=cookie, ca=ca, verify=verify, experiment=experiment
    )
    return Connection.open(address, patience)


class Connection:
    """An open way to Kubeflow Pipelines.

    Attributes:
        settings: Where, and as whom.
        is_multi_user: Whether it serves several users, each in a namespace.
    """

    def __init__(self, api: Api, *, is_multi_user: bool) -> None:
        self._api = api
        self.settings = api.settings
        self.is_multi_user = is_multi_user

    @classmethod
    def open(cls, settings: Settings, patience: RequestPatience | None = None) -> Connection:
        """Checks that it is Kubeflow that answers."""
        api = Api(settings, patience)
        try:
            is_multi_user = api.check()
        except (Unsupported, ValueError) as error:
            raise KubeflowError(
                f"{settings.url} ({settings.source}): something answers, but not the API of Kubeflow Pipelines "
                f"v2beta1; is it the address of ml-pipeline (port 8888), or of the UI with /pipeline behind it?"
            ) from error
        if settings.namespace and not is_multi_user:  # one user: a namespace would only hide what there is
            api = Api(replace(settings, namespace=""), patience)
        return cls(api, is_multi_user=is_multi_user)

    @property
    def api(self) -> Api:
        """The calls below."""
        return self._api

    def publish(self, pipeline: str, **options: Any) -> Published:
        """Publishes a pipeline as a version of its own; see `shipway.remote.publish.publish`."""
        from shipway.remote.publish import publish

        return publish(self._api, pipeline, **options)

    def prepare(self, pipeline: str, params: Mapping[str, Any] | None = None, **options: Any) -> Submission:
        """Checks a submission and starts nothing; see `shipway.remote.submit.prepare`."""
        from shipway.remote.submit import prepare

        return prepare(self._api, pipeline, params or {}, **options)

    def submit(
        self,
        pipeline: str,
        params: Mapping[str, Any] | None = None,
        *,
        version: str | None = None,
        experiment: str | None = None,
        run_name: str | None = None,
        service_account: str | None = None,
        started_by: str | None = None,
        key: str = "",
        **more: Any,
    ) -> Run:
        """Starts a run of a published pipeline, exactly once.

        Args:
            pipeline: A published pipeline, `name` or `name@version`.
            params: Its parameters, text or a table where text is expected; keyword arguments are added to them.
            version: The version; None for the current one.
            experiment: Where it is listed.
            run_name: The readable part of its name in the UI.
            service_account: Of its pods; None for Kubeflow's default.
            started_by: Who or what starts it; None for the person at this machine.
            key: Idempotency key, an event's id for example. Where a run of this pipeline has it, that run is returned,
                however it ended and whatever its parameters are (`Run.is_new` is False), and nothing is started.
        """
        submission = self.prepare(
            pipeline, {**(params or {}), **more}, version=version, experiment=experiment, name=run_name,
            started_by=started_by, key=key,
        )  # fmt: skip
        return self.start(submission, service_account=service_account)

    def start(self, submission: Submission, *, service_account: str | None = None) -> Run:
        """Starts what `prepare` checked."""
        from shipway.remote.submit import start

        started, is_new = start(self._api, submission, service_account=service_account)
        return Run(KubeflowRun(self._api, started, is_new=is_new))

    def plan_schedule(self, pipeline: str, when: str, **options: Any) -> PlannedSchedule:
        """Checks a schedule and makes nothing; `options` as `shipway.remote.recurring.ScheduleSpec` has them."""
        from shipway.remote.recurring import ScheduleSpec
        from shipway.remote.schedules import plan

        return plan(self._api, ScheduleSpec(pipeline, when, **options))

    def schedule(self, pipeline: str, when: str, **options: Any) -> Schedule:
        """Makes a schedule, `schedule("train-and-deploy", "every monday at 01:00", zone="Europe/Berlin")`."""
        from shipway.remote.schedules import create

        return create(self._api, self.plan_schedule(pipeline, when, **options))

    def schedules(self) -> list[Schedule]:
        """All schedules."""
        from shipway.remote.generations import list_schedules

        return list_schedules(self._api)

    def change_schedule(self, name: str, **changes: Any) -> Schedule:
        """Changes a schedule without a gap; see `shipway.remote.schedules.change`."""
        from shipway.remote.schedules import change

        return change(self._api, name, **changes)

    def pause_schedule(self, name: str, *, paused: bool = True) -> Schedule:
        """Pauses a schedule; `paused=False` resumes it."""
        from shipway.remote.schedules import set_paused

        return set_paused(self._api, name, paused=paused)

    def delete_schedule(self, name: str, *, cancel_runs: bool = False) -> list[Running]:
        """Deletes a schedule; gives back its runs that go on, none where they are cancelled."""
        from shipway.remote.schedules import delete

        return delete(self._api, name, cancel_runs=cancel_runs)

    def slots(self, schedule: Schedule, count: int = 20) -> list[Slot]:
        """The last times at which a schedule was to run, and what came of each."""
        from shipway.remote.slots import slots_of

        return slots_of(self._api, schedule, count)

    def prepare_clone(self, run: Run, changes: Mapping[str, Any]) -> Submission:
        """The same version with the same parameters but those given, checked and not started."""
        from shipway.remote.submit import prepare_clone

        return prepare_clone(self._api, self._of_kubeflow(run), changes)

    def _of_kubeflow(self, run: Run) -> KubeflowRun:
        if not isinstance(run.backend, KubeflowRun):
            raise InvalidSpec(f"is of this machine, not of Kubeflow at {self.settings.url}", field=f"run {run.key}")
        return run.backend

    def runs(self, limit: int = 10) -> list[Run]:
        """The newest runs."""
        return [Run(KubeflowRun(self._api, run)) for run in self._api.runs(limit)]

    def run(self, key: str = "last") -> Run:
        """A run by its id, the id's beginning, its name, its idempotency key or the mark in its name, or `last`.

        Raises:
            NotFound: none or several fit; names them.
        """
        if len(key) == 36 and key.count("-") == 4:
            return Run(KubeflowRun(self._api, self._api.run(key)))
        recent = self.runs(100)
        if key == "last" and recent:
            return recent[0].refresh()
        if not recent:
            raise NotFound(f"no runs at {self.settings.url} yet; `shipway submit` starts one", field="run")
        fitting = [run for run in recent if key and _fits(run, key)]
        if len(fitting) != 1:
            among = ", ".join(f"{run.key[:8]} ({run.name})" for run in (fitting or recent)[:5])
            raise NotFound(
                f"{len(fitting)} of the newest runs at {self.settings.url} fit {key!r}; "
                f"{'they are' if fitting else 'there are'} {among or 'none'}; `shipway runs list` "
                "names them",
                field="run",
                given=key,
            )
        return fitting[0].refresh()

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(run.name)}</td><td>{run.state}</td><td>{html.escape(run.started_by)}</td></tr>"
            for run in self.runs()
        )
        where = html.escape(self.settings.url)
        return f"<b>Kubeflow Pipelines at {where}</b><table><tr><th>run<th>state<th>started by</tr>{rows}</table>"

    def __repr__(self) -> str:
        return f"Connection({self.settings.url!r}, namespace={self.settings.namespace!r})"


def _fits(run: Run, key: str) -> bool:
    return run.key.startswith(key) or key in (run.name, run.name.rpartition(" ")[2])
