"""A sweep's engine: asks the search, runs trials, writes down what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from shipway.artifacts import TrialRecord
from shipway.components.sweep import core
from shipway.components.sweep.ledger import FINAL, Ledger, Request, Status, pause_s
from shipway.components.sweep.packed import PackedTrials
from shipway.components.sweep.rungs import Rungs
from shipway.components.sweep.search import Search
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.summary import describe_params, record_of
from shipway.errors import CorruptArtifact, InvalidSpec, JobFailed

OnTrial = Callable[[TrialRecord], None]


@dataclass
class Engine:
    """Plays a sweep.

    Args:
        on_trial: Told every trial that ended or paused, those of an earlier engine not.
        rungs: Where trials pause and are promoted; None: each trains to its end.
    """

    spec: SweepSpec
    search: Search
    ledger: Ledger
    trials: PackedTrials
    on_trial: OnTrial = lambda record: None
    rungs: Rungs | None = None
    paused: dict[int, TrialRecord] = field(default_factory=dict)  # and those of them that go on
    finished: dict[int, TrialRecord] = field(default_factory=dict)
    _backlog: list[Request] = field(default_factory=list)  # attempts to be made again
    _under_way: set[int] = field(default_factory=set)
    _judged: dict[int, int] = field(default_factory=dict)  # trial -> reports that were judged
    _is_over: bool = False

    def run(self) -> list[TrialRecord]:
        """Every trial, in order of numbers.

        Raises:
            InvalidSpec: the first trial, which has the defaults, failed by the user's own mistake.
            JobFailed: more trials failed than `maxFailedTrialCount` allows, or none succeeded; the last one's error is
                in the message.
        """
        under_way = self._restore()
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
                else:
                    time.sleep(pause_s(time.monotonic() - changed))
            self.trials.close()
        except BaseException:
            self.trials.close(0)
            raise
        self._give_up(list(self.paused))
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
            record = known.record
            if self.rungs is not None and record is not None:
                self.rungs.reached(record)
            if record is not None and number not in retried and record.state != "Paused":
                self.search.restore(record, known.memory)
                self.finished[number] = record
                continue
            if record is not None and record.state == "Paused":
                self.search.restore(record)
                self.paused[number], self._judged[number] = record, len(record.history)
            elif known.request is not None:
                self.search.restore(TrialRecord(number=number, state="Running", params=known.request.params))
            if known.request is not None:
                if self.rungs is not None:
                    self.rungs.begin(number)
                if number not in retried and self.trials.resume(known.request):
                    self._under_way.add(number)
                    under_way += 1
                else:
                    self._backlog.append(replace(known.request, attempt=known.request.attempt + 1))
        return under_way

    def _begin(self, under_way: int) -> int:
        """Starts as many trials as are wanted and have room."""
        begun = 0
        while self.trials.free > 0:
            request = self._backlog.pop(0) if self._backlog else self._next(under_way + begun)
            if request is None:
                break
            if self.rungs is not None:
                self.rungs.begin(request.number)
            self._under_way.add(request.number)
            self.trials.start(request)
            begun += 1
        return begun

    def _next(self, under_way: int) -> Request | None:
        """What to start now: a trial that is promoted, or else a new one."""
        if self._reached_goal():
            return None
        if (promoted := self._promoted()) is not None:
            return promoted
        known = self.finished.keys() | self.paused.keys() | self._under_way
        if not self._is_over and len(known) < max(self.spec.maxTrialCount, 1):
            asked = self.search.ask()
            if asked is not None:
                number, params = asked
                until = self.rungs.first(number) if self.rungs else None
                return Request(number, 1, params, is_judged=self.search.judges(number), until=until)
            self._is_over = True  # every combination was tried
        return self._promoted(is_closing=True) if under_way == 0 else None

    def _promoted(self, *, is_closing: bool = False) -> Request | None:
        leg = self.rungs.promote(is_closing=is_closing) if self.rungs else None
        if leg is None:
            return None
        record = self.paused[leg.number]
        return Request(leg.number, record.attempts + 1, record.params, until=leg.until, used_s=record.seconds)

    def _give_up(self, numbers: list[int]) -> None:
        """Ends paused trials that go on under no circumstances."""
        for number in numbers:
            record = self.paused.pop(number).model_copy(update={"state": "EarlyStopped"})
            self._end(record)
            if self.rungs is not None:
                self.rungs.reached(record)
            self.ledger.forget_checkpoints(number)

    def _look(self) -> tuple[int, bool]:
        """How many trials ended, and whether anything else happened."""
        ended, news = 0, False
        for request, status in self.trials.poll():
            news = self._judge(request, status) or news
            if status.state in FINAL:
                self._finish(request, status)
                ended += 1
        return ended, news

    def _judge(self, request: Request, status: Status) -> bool:
        """Passes new reports to the search and its verdict to the trial."""
        seen = self._judged.get(request.number, 0)
        objective = self.spec.objective.objectiveMetricName
        for index, (step, metrics) in enumerate(status.reports[seen:], start=seen + 1):
            value = metrics.get(objective)
            stop = value is not None and self.search.report(request.number, index, value)
            if request.is_judged and status.state not in FINAL:
                self.trials.decide(request, step, stop)
        self._judged[request.number] = max(seen, len(status.reports))  # an attempt that goes on has not told them yet
        return len(status.reports) > seen

    def _finish(self, request: Request, status: Status) -> None:
        if request.number == 0 and status.is_users and self.search.first is not None:
            # Not written down: mended and typed again, the trial is made again.
            what = "" if self.spec.function else "the training's own parameters cannot be trained: "
            raise InvalidSpec(f"{what}{status.error}", field="sweep")
        record = record_of(self.spec, request, status, self.rungs)
        self._under_way.discard(record.number)
        self.paused.pop(record.number, None)
        if self.rungs is not None:
            self.rungs.reached(record)
        if record.state == "Paused":
            self.paused[record.number] = record
            self.ledger.finish(record, self.search.memory(record.number))
            self.on_trial(record)
        else:
            self._end(record)
            self._check_failures()
        if self.rungs is not None:
            if record.state == "Succeeded":
                self.ledger.forget_checkpoints(record.number)
            failed = sum(each.state == "Failed" for each in self.finished.values())
            self._give_up(self.rungs.hopeless(max(0, self.spec.maxFailedTrialCount - failed)))

    def _end(self, record: TrialRecord) -> None:
        """Writes down a trial that is over."""
        self.search.tell(record)
        self.ledger.finish(record, self.search.memory(record.number))
        self.finished[record.number] = record
        self.on_trial(record)

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
