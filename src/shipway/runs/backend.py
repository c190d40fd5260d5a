"""What the place of a run must be able to tell and do: this machine (`here`), or Kubeflow (`remote.kubeflow_run`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from shipway.artifacts import RunRecord

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


class Backend(Protocol):
    """One run in its place, as it was when it was last looked at."""

    @property
    def key(self) -> str:
        """Here equal over retries of the same pipeline, parameters, data and code; Kubeflow's id there."""

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""

    @property
    def is_ours(self) -> bool:
        """Whether it ends with this process."""

    @property
    def is_new(self) -> bool:
        """False where an idempotency key led to a run that was there."""

    @property
    def note(self) -> str:
        """Why the records of its steps could not be read; empty where they could."""

    @property
    def poll_s(self) -> float:
        """How often to look while it goes on."""

    @property
    def name(self) -> str:
        """What lists call it."""

    @property
    def state(self) -> str:
        """Pending, Running, Cancelling, Succeeded, Failed, Cancelled, Skipped or Paused."""

    @property
    def url(self) -> str:
        """Its page in Kubeflow's UI; empty where there is none."""

    @property
    def titles(self) -> dict[str, str]:
        """The pipeline's tasks, path -> what screens call it."""

    @property
    def record(self) -> RunRecord:
        """All that is known of it: the record at its end, before that one of the same kind."""

    @property
    def facts(self) -> dict[str, Any]:
        """What its place adds to the document of a run (`shipway.summary`)."""

    def refresh(self) -> None:
        """Looks at it again."""

    def changes(self) -> Iterator[Event]:
        """Looks again, and gives what is new: events of kind `tasks`, `state`, `step`, `progress` and `run`.

        Raises:
            JobFailed: nobody is left to tell its end.
        """

    def cancel(self, timeout_s: float) -> str:
        """Asks for its end and waits for it; the state that it has then."""

    def again(self, changes: Mapping[str, Any], *, is_retry: bool) -> Backend:
        """Goes on with what failed, or starts another run with the same parameters but those given."""

    def detail(self, step: str) -> str:
        """What a running step is at, in a few words; empty where that is not known."""

    def logs(self, steps: set[str]) -> tuple[dict[str, str], list[str]]:
        """Text by step, and a line for each log that cannot be read from here."""

    def open_store(self) -> None:
        """Makes sure that the run's artifacts can be read by their URIs.

        Raises:
            NotFound: no store is named; says how to name it.
        """
