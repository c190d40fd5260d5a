"""A sweep from its first trial to its record: asks the search, runs trials, writes down what came of them."""

from __future__ import annotations

import importlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shipway import executors, step_progress
from shipway.artifacts import SweepRecord, TrialRecord
from shipway.components.sweep import algorithms, core
from shipway.components.sweep.boards import TrialBoards
from shipway.components.sweep.ledger import FINAL, Ledger, Request, Status, pause_s
from shipway.components.sweep.packed import PackedTrials
from shipway.components.sweep.runners import Jobs
from shipway.components.sweep.search import Search
from shipway.components.sweep.space import Values
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.summary import describe_params, describe_trial, make_record
from shipway.errors import CorruptArtifact, InvalidSpec, JobFailed
from shipway.executors import Handle, Manifest
from shipway.pages import numbers
from shipway.storage import open_folder

OnTrial = Callable[[TrialRecord], None]


def play(
    spec: SweepSpec,
    name: str,
    uri: str,
    origin: Mapping[str, Any],
    runner: Callable[[str], Manifest],
    *,
    first: Values | None,
    slots: int,
    dataset_fingerprint: str = "",
    on_start: Callable[[Handle], None] = lambda handle: None,
) -> SweepRecord:
    """Plays a sweep through the executor in force; one that was killed goes on where it was.

    Args:
        spec: The sweep.
        name: Its runners are named after it.
        uri: Its folder.
        origin: All that it stems from: another origin is refused in this folder.
        runner: Gives the manifest of a runner of a given name.
        first: Parameters of the first trial, the defaults; None: the search chooses that one too.
        slots: How many trials run at once.
        dataset_fingerprint: What is trained on.
        on_start: Told each runner's handle, so that whoever owns the step can cancel it.

    Raises:
        InvalidSpec: another sweep lies in the folder, or the defaults failed by the user's own mistake.
        JobFailed: more trials failed than allowed, or none ended with a value of the objective.
    """
    if unused := [each.name for each in spec.algorithm.algorithmSettings if each.name in algorithms.NOT_APPLIED]:
        print(f"not applied here: {', '.join(unused)} of {spec.algorithm.algorithmName}", flush=True)
    ledger = Ledger(open_folder(uri))
    ledger.claim(dict(origin))
    search = Search(spec, first, reports=math.ceil(spec.training.epochs) if spec.training else 0)
    trials = PackedTrials(
        sweep=name,
        ledger=ledger,
        jobs=Jobs(executors.current(), on_start),
        manifest=runner,
        slots=slots,
        deadline_s=core.trial_limit_s(spec),
        engine=f"{os.uname().nodename}-{os.getpid()}",
    )
    threading.Thread(target=_warm_up, daemon=True).start()
    records = Engine(spec, search, ledger, trials, lambda each: print(describe_trial(each, spec), flush=True)).run()
    with tempfile.TemporaryDirectory() as folder:  # for Optuna's own tools
        path = Path(folder) / "study.db"
        search.export(path)
        ledger.store.upload(path, "study.db")
    return make_record(spec, records, dataset_fingerprint, first or {}, search.importance())


def _warm_up() -> None:
    """Imports what the sweep's end needs while its trials run: seconds that nobody waits for."""
    for module in ("optuna.importance", "sklearn.ensemble", "sqlalchemy", "alembic", "jinja2"):
        importlib.import_module(module)


@dataclass
class Engine:
    """Plays a sweep.

    Args:
        on_trial: Told every trial that ended, those of an earlier engine not.
    """

    spec: SweepSpec
    search: Search
    ledger: Ledger
    trials: PackedTrials
    on_trial: OnTrial = lambda record: None
    finished: dict[int, TrialRecord] = field(default_factory=dict)
    _backlog: list[Request] = field(default_factory=list)  # attempts to be made again
    _judged: dict[int, int] = field(default_factory=dict)  # trial -> reports that were judged
    _is_over: bool = False

    def __post_init__(self) -> None:
        self.boards = TrialBoards(self.ledger.store)

    def run(self) -> list[TrialRecord]:
        """Every trial, in order of numbers.

        Raises:
            InvalidSpec: the first trial, which has the defaults, failed by the user's own mistake.
            JobFailed: more trials failed than `maxFailedTrialCount` allows, or none succeeded; the last one's error is
                in the message.
        """
        under_way = self._restore()
        self._tell_progress()
        changed = time.monotonic()
        try:
            while True:
                begun = self._begin(under_way)
                under_way += begun
                if under_way == 0:
                    break
                ended, news = self._look()
                under_way -= ended
                if begun or ended or news:
                    changed = time.monotonic()
                    self._tell_progress()
                else:
                    time.sleep(pause_s(time.monotonic() - changed))
            self.trials.close()
        except BaseException:
            self.trials.close(0)
            raise
        self._check_winner()
        return [self.finished[number] for number in sorted(self.finished)]

    def _restore(self) -> int:
        """Tells the search what earlier engines knew; gives back how many of their attempts are under way."""
        trials = self.ledger.trials()
        failed = [n for n, known in trials.items() if known.record and known.record.state == "Failed"]
        # A sweep that had failed and is typed again gives its failed trials another chance: something was mended.
        has_failed = len(failed) > self.spec.maxFailedTrialCount or len(failed) == len(trials)
        retried = set(failed) if has_failed else set()
        under_way = 0
        for number, known in trials.items():
            for params in [each.params for each in (known.record, known.request) if each is not None]:
                if not self.search.space.holds(params):  # the best of them go into a training, and into manifests
                    raise CorruptArtifact(
                        f"{self.ledger.store.uri}/trials/{number:04}: its parameters are not of this sweep's space: it "
                        "was edited; run again with --fresh"
                    )
            if known.record is not None and number not in retried:
                self.search.restore(known.record, known.memory)
                self.finished[number] = known.record
            elif known.request is not None:
                self.search.restore(TrialRecord(number=number, state="Running", params=known.request.params))
                if known.record is None and self.trials.resume(known.request):
                    under_way += 1
                else:
                    self._backlog.append(replace(known.request, attempt=known.request.attempt + 1))
        return under_way

    def _begin(self, under_way: int) -> int:
        """Starts as many trials as are wanted and have room."""
        begun = 0
        most = max(self.spec.maxTrialCount, 1)
        while self.trials.free > 0:
            if self._backlog:
                self.trials.start(self._backlog.pop(0))
            elif self._is_over or self._reached_goal() or len(self.finished) + under_way + begun >= most:
                break
            else:
                asked = self.search.ask()
                if asked is None:
                    self._is_over = True  # every combination was tried
                    break
                number, params = asked
                self.trials.start(Request(number, 1, params, is_judged=self.search.judges(number)))
            begun += 1
        return begun

    def _look(self) -> tuple[int, bool]:
        """How many trials ended, and whether anything else happened."""
        ended, news = 0, False
        for request, status in self.trials.poll():
            news = self._judge(request, status) or news
            if status.state in FINAL:
                self._finish(request, status)
                ended += 1
        return ended, news

    def _tell_progress(self) -> None:
        """Trials that ended, and of those under way what they have reported of what a training reports."""
        expected = math.ceil(self.spec.training.epochs) if self.spec.training and not self.spec.function else 1
        at_work = [seen for number, seen in self._judged.items() if number not in self.finished]
        done = len(self.finished) + sum(min(seen / expected, 0.99) for seen in at_work)
        best = core.best_trial(self.spec.objective, self.finished.values())
        note = ""
        if best is not None:
            name = self.spec.objective.objectiveMetricName
            note = f"best {name} {numbers.number(core.final_value(self.spec.objective, best.metrics, best.history))}"
        step_progress.tell(done, max(self.spec.maxTrialCount, 1), "trials", note)

    def _judge(self, request: Request, status: Status) -> bool:
        """Passes new reports to the search and its verdict to the trial."""
        seen = self._judged.get(request.number, 0)
        objective = self.spec.objective.objectiveMetricName
        for index, (step, metrics) in enumerate(status.reports[seen:], start=seen + 1):
            value = metrics.get(objective)
            stop = value is not None and self.search.report(request.number, index, value)
            if request.is_judged and status.state not in FINAL:
                self.trials.decide(request, step, stop)
        self._judged[request.number] = len(status.reports)
        has_news = len(status.reports) > seen
        if has_news and status.state not in FINAL:
            self.boards.report(request, status)
        return has_news

    def _finish(self, request: Request, status: Status) -> None:
        if request.number == 0 and status.is_users and self.search.first is not None:
            # Not written down: mended and typed again, the trial is made again.
            what = "" if self.spec.function else "the training's own parameters cannot be trained: "
            raise InvalidSpec(f"{what}{status.error}", field="sweep")
        record = self._record(request, status)
        self.search.tell(record)
        self.ledger.finish(record, self.search.memory(record.number))
        self.finished[record.number] = record
        self.boards.finish(request, status, record)
        self.on_trial(record)
        self._check_failures()

    def _record(self, request: Request, status: Status) -> TrialRecord:
        objective = self.spec.objective.objectiveMetricName
        history = [
            [float(step), value] for step, metrics in status.reports if (value := metrics.get(objective)) is not None
        ]
        reported = status.metrics or (status.reports[-1][1] if status.reports else {})
        record = TrialRecord(
            number=request.number,
            state=status.state,
            params=dict(request.params),
            metrics={name: value for name, value in reported.items() if value is not None},
            history=core.thinned(history),
            seconds=status.seconds,
            seed=core.trial_training(self.spec, {}).seed,
            job=request.runner,
            error=status.error,
        )
        if record.state == "EarlyStopped" and not history:
            record.state = "Failed"
        if record.state == "Succeeded" and reported.get(objective, 0.0) is None:
            record.state, record.error = "Failed", f"the trial's {objective} is not a finite number"
        elif record.state == "Succeeded":
            try:
                core.final_value(self.spec.objective, record.metrics, record.history)
            except ValueError as error:
                record.state, record.error = "Failed", str(error)
        return record

    def _check_failures(self) -> None:
        failed = [record for record in self.finished.values() if record.state == "Failed"]
        if len(failed) > self.spec.maxFailedTrialCount:
            last = max(failed, key=lambda record: record.number)
            raise JobFailed(
                f"sweep: {len(failed)} of {len(self.finished)} trials failed, maxFailedTrialCount is "
                f"{self.spec.maxFailedTrialCount}; trial {last.number} ({describe_params(last.params)}): {last.error}"
            )

    def _check_winner(self) -> None:
        """Failures that are allowed are no parameters that won."""
        records = [self.finished[number] for number in sorted(self.finished)]
        if any(record.state == "Succeeded" for record in records):
            return
        errors = [record.error for record in records if record.error]
        raise JobFailed(
            f"sweep: none of {len(records)} trials ended with a value of "
            f"{self.spec.objective.objectiveMetricName!r}" + (f"; the last error: {errors[-1]}" if errors else "")
        )

    def _reached_goal(self) -> bool:
        goal = self.spec.objective.goal
        best = core.best_trial(self.spec.objective, self.finished.values())
        if goal is None or best is None:
            return False
        value = core.final_value(self.spec.objective, best.metrics, best.history)
        return value >= goal if self.spec.objective.type == "maximize" else value <= goal
