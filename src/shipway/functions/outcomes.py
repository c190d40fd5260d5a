"""What came of a function that was swept or trained, as an object to look at."""

from __future__ import annotations

import atexit
import html
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from shipway.errors import NotFound

if TYPE_CHECKING:
    import polars

    from shipway.artifacts import SweepRecord, TrainingRecord, TrialRecord
    from shipway.functions.source import Source
    from shipway.runs import Run


R = TypeVar("R")
_OF_A_TRIAL = ("trial", "state", "seconds", "error")  # columns that every table of trials has


class _Outcome(Generic[R]):
    """A run over a function, while it goes on and when it has ended.

    Attributes:
        run: The run of the pipeline: its state, logs and reports.
        source: What travelled: `print(outcome.source.text)`.
        origin: Versions, notebook and commit that it comes from; a parameter of the run.
    """

    _record: R | None = None

    def __init__(self, run: Run, source: Source, origin: dict[str, Any]) -> None:
        self.run = run
        self.source = source
        self.origin = origin

    def wait(self) -> Self:
        """Waits for the end.

        Raises:
            JobFailed: it failed; the first error is in the message.
        """
        self.run.wait()
        self.run.raise_for_state()
        return self

    @property
    def record(self) -> R:
        """What came of it: of a sweep every trial.

        Raises:
            NotFound: it has not ended, or failed.
        """
        if self._record is None and self._is_done:
            self._record = self._read()
        if self._record is None:
            raise NotFound(
                f"is {self.run.state}; what came of it is told when it has succeeded", field=f"run {self.run.key}"
            )
        return self._record

    def _read(self) -> R | None:
        """As its run has it."""
        raise NotImplementedError

    @property
    def _is_done(self) -> bool:
        """As it is now: who did not wait asks later."""
        if not self.run.has_ended:
            self.run.refresh()
        return self.run.state == "Succeeded"


class Sweep(_Outcome["SweepRecord"]):
    """A sweep over a function."""

    def _read(self) -> SweepRecord | None:
        return self.run.sweep

    @property
    def best(self) -> dict[str, Any]:
        """The best trial's parameters: `train(**sweep.best)`."""
        return dict(self.record.best_params)

    @property
    def best_value(self) -> float | None:
        """The best trial's objective."""
        return self.record.best_value

    @property
    def trials(self) -> polars.DataFrame:
        """A row a trial: its number, state, parameters, metrics, seconds and error."""
        import polars

        return polars.DataFrame(self._rows(), strict=False, infer_schema_length=None)

    def _rows(self) -> list[dict[str, Any]]:
        record = self.record
        order = list(self.source.declared.parameters)
        names = sorted(record.best_params, key=lambda name: (order.index(name) if name in order else len(order), name))
        metrics = dict.fromkeys([record.objective, *(name for trial in record.trials for name in trial.metrics)])
        told = {name: f"{name} (metric)" if name in {*names, *_OF_A_TRIAL} else name for name in metrics}
        return [
            {
                "trial": trial.number,
                "state": trial.state,
                **{f"{name} (parameter)" if name in _OF_A_TRIAL else name: trial.params.get(name) for name in names},
                **{column: _value(trial, name, record.objective) for name, column in told.items()},
                "seconds": trial.seconds,
                "error": trial.error,
            }
            for trial in record.trials
        ]

    def __repr__(self) -> str:
        if not self._is_done:
            return f"Sweep of {self.source.name}: {self.run.state}, run {self.run.key}"
        record = self.record
        chosen = ", ".join(f"{name}={value}" for name, value in record.best_params.items())
        return (
            f"Sweep of {self.source.name}: best {record.objective}={record.best_value:.6g} with {chosen} "
            f"(trial {record.best_trial} of {len(record.trials)})"
        )

    def _repr_html_(self) -> str:
        head = f"<b>{html.escape(repr(self))}</b>"
        if not self._is_done:
            return head
        rows = self._rows()
        best = self.record.best_trial
        names = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0]) if rows else ""
        body = "".join(
            f"<tr{' style=font-weight:bold' if row['trial'] == best else ''}>"
            + "".join(f"<td>{html.escape(_text(value))}</td>" for value in row.values())
            + "</tr>"
            for row in rows
        )
        return f"{head}<table><tr>{names}</tr>{body}</table>"


class Training(_Outcome["TrainingRecord"]):
    """A training whose code is a function."""

    _folder: Path | None = None

    def _read(self) -> TrainingRecord | None:
        return self.run.training

    @property
    def metrics(self) -> dict[str, float]:
        """What the function returned, and what it reported last."""
        return dict(self.record.metrics)

    @property
    def folder(self) -> Path:
        """What the chief left in `context.folder`, on this machine; fetched at the first call."""
        if self._folder is None:
            from shipway.functions.kept import KeptFolder

            path = Path(tempfile.mkdtemp(prefix="shipway-function-"))
            atexit.register(shutil.rmtree, path, ignore_errors=True)
            KeptFolder(path, self.record.uri).restore()
            self._folder = path
        return self._folder

    @property
    def tensorboard(self) -> Path:
        """The logs, fetched to this machine: `tensorboard --logdir`."""
        from shipway.storage import open_folder

        uri = self.record.uri
        path = Path(tempfile.mkdtemp(prefix="shipway-tensorboard-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        store = open_folder(f"{uri}/tensorboard")
        store.download_many((info.key, path / info.key, None) for info in store.list())
        return path

    def __repr__(self) -> str:
        if not self._is_done:
            return f"Training of {self.source.name}: {self.run.state}, run {self.run.key}"
        record = self.record
        metrics = ", ".join(f"{name}={value:.6g}" for name, value in record.metrics.items())
        workers = f"{record.workers} worker{'s' if record.workers != 1 else ''}"
        return f"Training of {self.source.name}: {metrics or 'no metrics'}; {record.strategy}, {workers}; {record.uri}"


def _value(trial: TrialRecord, name: str, objective: str) -> float | None:
    """A metric of a trial; of one that was given up its last report."""
    value = trial.metrics.get(name)
    return trial.history[-1][1] if value is None and name == objective and trial.history else value


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
