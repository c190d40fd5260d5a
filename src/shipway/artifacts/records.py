"""StepRecord and RunRecord: what notify, the CLI and notebooks read instead of logs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from shipway import redaction
from shipway.artifacts.base import Artifact, Record
from shipway.dag import Place
from shipway.errors import JobFailed, ShipwayError, harmless, one_line

StepState = Literal["Pending", "Running", "Succeeded", "Failed", "Cancelled", "Cached", "Skipped"]


class StepError(Record):
    """What a person should read first."""

    kind: str  # exception class
    message: str
    field: str | None = None  # what it is about, as `shipway.errors.Details` has it
    given: str | None = None
    allowed: str | list[str] | None = None
    fix: str | None = None
    replica: str | None = None
    exit_code: int | None = None
    last_lines: list[str] = Field(default_factory=list)

    @classmethod
    def of(cls, error: BaseException) -> StepError:
        """How records and `--json` hold an error: one line, without secrets, and its fields."""
        if not isinstance(error, ShipwayError):
            return cls(kind=type(error).__name__, message=redaction.text(one_line(f"{type(error).__name__}: {error}")))
        about = {name: value for name, value in vars(error.details).items() if value is not None}
        made = cls.model_validate({"kind": type(error).__name__, "message": redaction.text(one_line(error)), **about})
        if isinstance(error, JobFailed):
            made.replica, made.exit_code = error.replica, error.replica_exit_code
            made.last_lines = [redaction.text(harmless(line)) for line in error.last_lines]
        return made


class StepProgress(Record):
    """How far a step is, in units of its own: steps of a training, trials, rows."""

    done: float
    total: float | None = None  # None: nobody knows
    unit: str = ""
    note: str = ""
    left_s: float | None = None  # None: it cannot be told yet
    at: float = 0.0  # seconds since 1970

    @property
    def text(self) -> str:
        """In a few words."""
        from shipway.pace import words

        return words(self.done, self.total, self.unit, self.left_s, self.note)


class StepRecord(Artifact):
    """One launch of one task; at runs/<run>/steps/<name>.json.

    `parts`: where one task does the work of several steps (`release`), one record for each, in their order.
    """

    KIND: ClassVar[str] = "StepRecord"

    run: str
    task: str  # its path in the pipeline, `tune.train`; of a part, behind its whole's
    iteration: str = ""  # index in each loop around it, the outermost first: `0.2`
    role: str = ""  # what it does, as its launch says: train, evaluate; empty where no launch of ours said so
    title: str = ""  # the display name of the task, where the runner knows it
    state: StepState
    started_at: str = ""
    seconds: float = 0.0
    error: StepError | None = None
    outputs: dict[str, object] = Field(default_factory=dict)  # small facts worth showing: uris, counts, metrics
    reports: dict[str, str] = Field(default_factory=dict)  # title -> URI of an HTML file
    jobs: list[str] = Field(default_factory=list)
    log: str = ""
    execution: str = ""  # on Kubeflow, of its task within the run: equal over retries, another in each iteration
    inputs: dict[str, str] = Field(default_factory=dict)  # on Kubeflow: input artifact -> where its maker wrote it
    made: dict[str, str] = Field(default_factory=dict)  # on Kubeflow: output artifact -> where it writes it
    cached_from: str = ""  # of a cached step: the run that did the work, where that is known
    parts: list[StepRecord] = Field(default_factory=list)
    progress: StepProgress | None = None  # while it runs, or where it ended before it was done

    @property
    def name(self) -> str:
        """No other step of the run has it: the task, and its iteration."""
        return Place(self.task, self.iteration).name

    @property
    def label(self) -> str:
        """What a person calls it."""
        loop = f", iteration {self.iteration}" if self.iteration else ""
        return f"{self.title}{loop}" if self.title else self.name

    @property
    def pieces(self) -> list[StepRecord]:
        """What a person calls steps: the parts, or the step itself where it has none, or where none of them failed."""
        ended = ("Failed", "Cancelled")
        is_told = self.state not in ended or any(part.state in ended for part in self.parts)
        return self.parts if self.parts and is_told else [self]

    def moved(self, task: str, iteration: str) -> StepRecord:
        """The record as that of another step, which found its work done."""
        parts = [part.moved(f"{task}.{part.role}", iteration) for part in self.parts]
        return self.model_copy(update={"task": task, "iteration": iteration, "parts": parts})


class RunRecord(Artifact):
    """One run; at runs/<run>/run.json."""

    KIND: ClassVar[str] = "RunRecord"

    run: str
    pipeline: str
    name: str = ""
    state: StepState
    started_at: str = ""
    seconds: float = 0.0
    started_by: str = ""  # a person, a schedule, or as whoever started it said
    idempotency_key: str = ""  # that was given with it: the same again finds this run
    params: dict[str, object] = Field(default_factory=dict)
    steps: list[StepRecord] = Field(default_factory=list)
    error: StepError | None = None
