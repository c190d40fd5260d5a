"""A sweep's engine: asks the search, runs trials, writes down what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from shipway.artifacts import TrialRecord
from shipway.components.sweep import core
from shipway.components.sweep.boards import TrialBoards
from shipway.components.sweep.budget import Account
from shipway.components.sweep.ledger import FINAL, Ledger, Request, Status, pause_s
from shipway.components.sweep.packed import PackedTrials
from shipway.components.sweep.rungs import Rungs
from shipway.components.sweep.search import Search
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.spending import Spending
from shipway.components.sweep.summary import describe_params, record_of, tell_progress
from shipway.errors import CorruptArtifact, InvalidSpec, JobFailed, Superseded

IDLE_S = 20.0  # a runner without work keeps its GPUs so long, where more may come
OnTrial = Callable[[TrialRecord], None]


@dataclass
class Engine:
    """Plays a sweep.

    Args:
        on_trial: Told every trial that ended or paused, those of an earlier engine not.
        rungs: Where trials pause and are promoted; None: each trains to its end.
        spending: What trials cost, and may cost.

    Attributes:
        ended_by: Why the sweep ended before its own end; empty where it did not.
    """

    spec: SweepSpec
    search: Search
    ledger: Ledger
    trials: PackedTrials
    on_trial: OnTrial = lambda record: None
    rungs: Rungs | None = None
    spending: Spending = field(default_factory=lambda: Spending(Account(0, 1)))
    ended_by: str = ""
    paused: dict[int, TrialRecord] = field(default_factory=dict)  # and those of them that go on
    finished: dict[int, TrialRecord] = field(default_factory=dict)
    _backlog: list[Request] = field(default_factory=list)  # attempts to be made again
    _under_way: set[int] = field(default_factory=set)
    _judged: dict[int, int] = field(default_factory=dict)  # trial -> reports that were judged
    _is_over: bool = False

    def __post_init__(self) -> None:
        self.boards = TrialBoards(self.ledger.store)

    def run(self) -> list[TrialRecord]:
        """Every trial, in order of numbers.

        Raises:
            InvalidSpec: the first trial, which has the defaults, failed by the user's own mistake.
            JobFailed: more trials failed than `maxFailedTrialCount` allows, or none succeeded; it says why.
        """
        under_way = self._restore()
        tell_progress(self.spec, self.finished, self._judged)
        changed = time.monotonic()
        try:
            while True:
                begun = self._begin(under_way)
                under_way += begun
                if under_way == 0:
                    break
                ended, news = self._look()
                under_way -= ended
                if self.trials.stop_by:
                    self.ended_by = f"stopped by {self.trials.stop_by}"
                    self.trials.kill(self.ended_by)  # without a record: played again, it makes them again
                    break
                if under_way and self.spending.is_used_up:
                    under_way -= self._kill()
                if begun or ended or news:
                    changed = time.monotonic()
                    tell_progress(self.spec, self.finished, self._judged)
                else:
                    self.trials.release(after_s=0.0 if self.rungs is None else IDLE_S)
                    time.sleep(self.spending.patience_s(pause_s(time.monotonic() - changed)))
            self.trials.close()
        except BaseException as error:
            if not isinstance(error, Superseded):  # else the runners are another's now
                self.trials.close(0)
            raise
        known = {**self.finished, **self.paused}
        if not self.trials.stop_by:
            budgeted = self.spec.budget.trials if self.spec.budget else None
            if budgeted is not None and len(known) >= budgeted < self.spec.maxTrialCount:
                self.ended_by = self.ended_by or f"the budget: {budgeted} of {budgeted} trials"
            self._give_up(list(self.paused))
            known = self.finished
            for number in [n for n, each in known.items() if self.rungs and each.state in ("Failed", "Killed")]:
                self.ledger.forget_checkpoints(number)  # of others they are gone already
        self._check_winner()
        return [known[number] for number in sorted(known)]

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
            if record is not None:
                self.spending.held[number] = record.held_s
                if self.rungs is not None:
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
                if number not in retried and self.trials.resume(known.request):
                    self._note_begin(known.request)
                    under_way += 1
                else:
                    lost = self.ledger.status(number, known.request.attempt)
                    held_s = known.request.held_s + (lost.seconds if lost is not None else 0.0)
                    attempt = known.request.attempt + 1
                    self._backlog.append(replace(known.request, attempt=attempt, held_s=held_s))
        return under_way

    def _begin(self, under_way: int) -> int:
        begun = 0  # as many trials as are wanted and have room
        while self.trials.free > 0:
            request = self._backlog.pop(0) if self._backlog else self._next(under_way + begun)
            if request is None:
                break
            self._note_begin(request)
            self.trials.start(request)
            begun += 1
        return begun

    def _note_begin(self, request: Request) -> None:
        self.spending.begin(request, self._units(request.number, request.until))
        if self.rungs is not None:
            self.rungs.begin(request.number)
        self._under_way.add(request.number)

    def _next(self, under_way: int) -> Request | None:
        """What to start now: a trial that is promoted, or else a new one."""
        if self.ended_by or self._reached_goal():
            return None
        if (promoted := self._promoted()) is not None:
            return promoted if self._fits(under_way, promoted.number, promoted.until, promoted.used_s) else None
        number = len(self.finished.keys() | self.paused.keys() | self._under_way)
        if not self._is_over and number < max(core.most_trials(self.spec), 1):
            until = self.rungs.first(number) if self.rungs else None
            if not self._fits(under_way, number, until):
                return None
            asked = self.search.ask()
            if asked is not None:
                number, params = asked
                return Request(number, 1, params, is_judged=self.search.judges(number), until=until)
            self._is_over = True  # every combination was tried
        closing = self._promoted(is_closing=True) if under_way == 0 else None
        if closing is None or not self._fits(0, closing.number, closing.until, closing.used_s):
            return None
        return closing

    def _promoted(self, *, is_closing: bool = False) -> Request | None:
        leg = self.rungs.promote(is_closing=is_closing) if self.rungs else None
        if leg is None:
            return None
        record = self.paused[leg.number]
        return Request(
            leg.number, record.attempts + 1, record.params, until=leg.until, used_s=record.seconds, held_s=record.held_s
        )

    def _units(self, number: int, until: int | None) -> int:
        """Of an attempt's work, as its cost is estimated: reports, or 1 for a whole trial."""
        return self.rungs.units(number, until or 0) if self.rungs else 1

    def _fits(self, under_way: int, number: int, until: int | None, used_s: float = 0.0) -> bool:
        """Whether an attempt may begin; where it may not, and nothing is under way, the sweep ends with what it has."""
        cost_s = self.spending.may_cost_s(self._units(number, until), used_s)
        if self.spending.fits(cost_s):
            return True
        if under_way:
            return False
        account = self.spending.account
        spent = account.text(self.spending.spent_s)
        more = f", and what comes next may cost {account.amount(cost_s)}" if cost_s else ""
        self.ended_by = f"the budget: {spent} spent{more}"
        return False

    def _kill(self) -> int:
        """Ends what is under way, for the budget is used up; gives back how many that were."""
        spent = self.spending.account.text(self.spending.spent_s)
        self.ended_by = f"the budget is used up: {spent} spent"
        killed = self.trials.kill(self.ended_by)
        for request, status in killed:
            self._finish(request, status)
        return len(killed)

    def _give_up(self, numbers: list[int]) -> None:
        """Ends paused trials that go on under no circumstances."""
        for number in numbers:
            record = self.paused.pop(number).model_copy(update={"state": "EarlyStopped"})
            self._end(record)
            if self.rungs is not None:
                self.rungs.reached(record)
            self.ledger.forget_checkpoints(number)

    def _look(self) -> tuple[int, bool]:  # how many trials ended, and whether anything else happened
        ended, news = 0, False
        for request, status in self.trials.poll():
            self.spending.look(request, status)
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
        has_news = len(status.reports) > seen
        if has_news and status.state not in FINAL:
            self.boards.report(request, status)
        return has_news

    def _finish(self, request: Request, status: Status) -> None:
        if request.number == 0 and status.is_users and self.search.first is not None:
            # Not written down: mended and typed again, the trial is made again.
            what = "" if self.spec.function else "the training's own parameters cannot be trained: "
            raise InvalidSpec(f"{what}{status.error}", field="sweep")
        record = record_of(self.spec, request, status, self.rungs)
        before = len(self.ledger.earlier_reports(request)) if self.rungs is not None else 0
        self.spending.end(request, status, len(status.reports) - before if self.rungs is not None else 1)
        self._under_way.discard(record.number)
        self.paused.pop(record.number, None)
        if self.rungs is not None:
            self.rungs.reached(record)
        self.boards.finish(request, status, record)
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
        why = self.ended_by or (f"the last error: {errors[-1]}" if errors else "")
        raise JobFailed(
            f"sweep: none of {len(records)} trials ended with a value of "
            f"{self.spec.objective.objectiveMetricName!r}" + (f"; {why}" if why else "")
        )

    def _reached_goal(self) -> bool:
        goal = self.spec.objective.goal
        best = core.best_trial(self.spec.objective, self.finished.values())
        if goal is None or best is None:
            return False
        value = core.final_value(self.spec.objective, best.metrics, best.history)
        return value >= goal if self.spec.objective.type == "maximize" else value <= goal
