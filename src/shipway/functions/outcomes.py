"""What came of a sweep over a function, as an object to look at."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from shipway.errors import NotFound

if TYPE_CHECKING:
    import polars

    from shipway.artifacts import SweepRecord, TrialRecord
    from shipway.functions.source import Source
    from shipway.runs import Run


class Sweep:
    """A sweep over a function, while it runs and when it has ended.

    Attributes:
        run: The run of the pipeline `sweep_function`: its state, logs and reports.
        source: What travelled: `print(sweep.source.text)`.
    """

    def __init__(self, run: Run, source: Source) -> None:
        self.run = run
        self.source = source
        self._record: SweepRecord | None = None

    def wait(self) -> Sweep:
        """Waits for the end.

        Raises:
            JobFailed: the sweep failed; the first error is in the message.
        """
        self.run.wait()
        self.run.raise_for_state()
        return self

    @property
    def record(self) -> SweepRecord:
        """Every trial.

        Raises:
            NotFound: the sweep has not ended, or failed.
        """
        if self._record is None:
            self._record = self.run.sweep
        if self._record is None:
            raise NotFound(f"sweep: run {self.run.key} is {self.run.state}; its trials are told when it has succeeded")
        return self._record

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
        metrics = dict.fromkeys([record.objective, *(name for trial in record.trials for name in trial.metrics)])
        return [
            {
                "trial": trial.number,
                "state": trial.state,
                **trial.params,
                **{name: _value(trial, name, record.objective) for name in metrics},
                "seconds": trial.seconds,
                "error": trial.error,
            }
            for trial in record.trials
        ]

    def __repr__(self) -> str:
        if self.run.state != "Succeeded":
            return f"Sweep of {self.source.name}: {self.run.state}, run {self.run.key}"
        record = self.record
        chosen = ", ".join(f"{name}={value}" for name, value in record.best_params.items())
        return (
            f"Sweep of {self.source.name}: best {record.objective}={record.best_value:.6g} with {chosen} "
            f"(trial {record.best_trial} of {len(record.trials)})"
        )

    def _repr_html_(self) -> str:
        head = f"<b>{html.escape(repr(self))}</b>"
        if self.run.state != "Succeeded":
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


def _value(trial: TrialRecord, name: str, objective: str) -> float | None:
    """A metric of a trial; of one that was given up its last report."""
    value = trial.metrics.get(name)
    return trial.history[-1][1] if value is None and name == objective and trial.history else value


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
