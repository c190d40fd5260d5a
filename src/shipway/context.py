"""Where a step runs and where it finds storage: read from the environment, never from a parameter.

A run id or an endpoint among a component's arguments would defeat caching, so both travel in the environment:
`shipway run --local` sets it for the processes it starts, the images and the step's own pod set it on a cluster.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shipway import mounted, private
from shipway.dag import Place
from shipway.errors import InvalidSpec

if TYPE_CHECKING:
    from shipway.executors.kubernetes.own_pod import OwnPod

HOME = "SHIPWAY_HOME"
STORE = "SHIPWAY_STORE"
RUN = "SHIPWAY_RUN"
EXECUTOR = "SHIPWAY_EXECUTOR"
TASK = "SHIPWAY_TASK"  # the step's name in its run, where the local host starts it
TITLE = "SHIPWAY_TASK_TITLE"  # the display name of its task
NAMESPACE = "SHIPWAY_NAMESPACE"


@dataclass(frozen=True)
class Context:
    """The surroundings of one step.

    Attributes:
        home: Local state folder: embedded store, jobs, endpoints, logs (default `.shipway`).
        store_uri: Root of everything Shipway stores, `s3://bucket/prefix` or `file:///folder`.
        run: The run's key; names jobs and records.
        executor: `process` or `kubernetes`.
        namespace: Kubernetes namespace of what is created.
        task: Path of the task in its pipeline, `tune.train`; empty where the step was started by hand.
        iteration: Index in each loop around it, `0.2`.
        execution: On Kubeflow, of the task within its run: equal over retries, another in each iteration of a loop.
        attempt: On Kubeflow, how often Argo has tried this step before.
        inputs: On Kubeflow, input artifact -> URI that its maker wrote it to.
        made: On Kubeflow, output artifact -> URI that it writes it to.
    """

    home: Path
    store_uri: str
    run: str
    executor: str
    namespace: str
    task: str = ""
    iteration: str = ""
    execution: str = ""
    attempt: int = 0
    inputs: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def current(cls) -> Context:
        """The context that the environment describes.

        Raises:
            InvalidSpec: a step on Kubeflow whose pod was not given the store.
        """
        if mounted.KFP_POD in os.environ and not os.environ.get(STORE):
            raise InvalidSpec(
                "this step's pod was not given the store's Secret; compile its pipeline by `shipway "
                "compile` or `publish`, or call shipway.use_store(task) for each task that runs one of "
                "our images",
                field=STORE,
            )
        home = Path(os.environ.get(HOME, ".shipway")).absolute()
        pod = _kubeflow_step() if mounted.KFP_POD in os.environ else None
        place = pod.place if pod else Place.parse(os.environ.get(TASK, ""))
        return cls(
            home=home,
            store_uri=os.environ.get(STORE, "s3://shipway").rstrip("/"),
            run=os.environ.get(RUN) or (pod.run if pod else "") or "adhoc",
            executor=os.environ.get(EXECUTOR, "process"),
            namespace=os.environ.get(NAMESPACE) or mounted.namespace() or "default",
            task=place.task,
            iteration=place.iteration,
            execution=pod.execution if pod else "",
            attempt=pod.attempt if pod else 0,
            inputs=pod.inputs if pod else {},
            made=pod.made if pod else {},
        )

    @property
    def step(self) -> str:
        """The step's name, which no other of the run has; empty where it was started by hand."""
        return Place(self.task, self.iteration).name

    def make_home(self) -> Path:
        """The local state folder, made where there is none, and closed to others where an earlier version left it open.

        Raises:
            InvalidSpec: it cannot be made, or not be written.
        """
        try:
            self.home.parent.mkdir(parents=True, exist_ok=True)
            private.make_folder(self.home)
            private.tighten(self.home)
            reason = "" if os.access(self.home, os.W_OK | os.X_OK) else "it cannot be written"
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            raise InvalidSpec(
                f"{str(self.home)!r} cannot hold local state ({reason})",
                field=HOME,
                given=str(self.home),
                allowed=f"a folder that you may write: set {HOME} to one, or type the command in one",
            )
        return self.home

    def uri(self, *parts: str) -> str:
        """A URI below the store's root, `uri("jobs", name)`."""
        return "/".join([self.store_uri, *parts])


def _kubeflow_step() -> OwnPod | None:
    """The step that this process is, as its own pod tells it."""
    from shipway.executors.kubernetes.own_pod import own_pod  # one question, the answer is kept

    return own_pod()
