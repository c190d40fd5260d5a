"""Which trial is worth going on with: the rungs of ASHA and hyperband.

A trial trains to a rung, a number of reports, and pauses there with a checkpoint; the better part of a rung is promoted
and goes on from it. Every decision is a function of what the trials reached so far, so that an engine that was killed
decides as it would have.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020) for ASHA; Li et al., "Hyperband"
(2018) for brackets and their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shipway.artifacts import TrialRecord
from shipway.components.sweep import core
from shipway.components.sweep.algorithms import LOCAL, RUNGS
from shipway.components.sweep.spec import Objective, SweepSpec
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec
from shipway.recipes import FitsItself

END = 0  # of a leg: to the training's own end
Progress = Literal["under way", "paused", "ended", "failed"]


@dataclass(frozen=True)
class Leg:
    """What a trial is to do next: train on, up to so many reports (`END`: to its end)."""

    number: int
    until: int


@dataclass
class Climber:
    """A trial on the rungs.

    Attributes:
        values: The best objective up to each rung that it reached; larger is better.
        progress: `paused` at the last of these, for example.
    """

    values: list[float]
    progress: Progress


@dataclass(frozen=True)
class Bracket:
    """Trials that are held against each other.

    Attributes:
        rungs: Reports at which a trial pauses, ascending; behind the last it trains to its end.
        members: Numbers of its trials; those that did not begin yet among them.
    """

    rungs: tuple[int, ...]
    members: range


class Rungs:
    """The rungs of one sweep.

    Args:
        name: `asha` or `hyperband`.
        settings: `eta`, `r_l` (reports of a whole training), `r_min` (of the lowest rung; ASHA).
        reports: Of a whole training, where `r_l` is not given.
        trials: How many the sweep makes at most.
        direct: Trials that never pause: the defaults, whose whole training the others are compared with.
    """

    def __init__(
        self, name: str, settings: Mapping[str, Any], reports: int, trials: int, direct: Iterable[int] = ()
    ) -> None:
        self.name, self.trials, self.direct = name, max(trials, 1), frozenset(direct)
        self.eta = int(settings.get("eta", 3))
        self.most = int(settings.get("r_l") or reports)
        self.least = int(settings.get("r_min", 1))
        self.climbers: dict[int, Climber] = {}

    def bracket_of(self, number: int) -> Bracket:
        """The bracket of a trial: ASHA has one; hyperband begins again with the first when all are through."""
        if self.name == "asha":
            return Bracket(_between(self.least, self.most, self.eta), range(self.trials))
        start = 0
        while True:
            for rungs, size in self._brackets():
                if number < start + size:
                    return Bracket(rungs, range(start, min(start + size, self.trials)))
                start += size

    def _brackets(self) -> list[tuple[tuple[int, ...], int]]:
        """(rungs, size) from the most daring bracket to the one that trains every trial to its end."""
        highest = len(_between(1, self.most, self.eta))
        brackets = []
        for steps in range(highest, -1, -1):
            first = max(1, round(self.most / self.eta**steps))
            size = math.ceil((highest + 1) / (steps + 1) * self.eta**steps)
            brackets.append((_between(first, self.most, self.eta)[:steps], size))
        return brackets

    def first(self, number: int) -> int:
        """How far a new trial trains at first."""
        rungs = self.bracket_of(number).rungs
        return rungs[0] if rungs and number not in self.direct else END

    def units(self, number: int, until: int) -> int:
        """Reports of a leg, from the rung at which its trial is."""
        values = self.climbers[number].values if number in self.climbers else []
        return max(1, (until or self.most) - (self.bracket_of(number).rungs[len(values) - 1] if values else 0))

    def begin(self, number: int) -> None:
        """Notes that a trial is under way, again or for the first time."""
        self.climbers.setdefault(number, Climber([], "under way")).progress = "under way"

    def reached(self, record: TrialRecord) -> None:
        """Notes how a leg ended, with `record.rungs` as `values` gave it."""
        ends: dict[str, Progress] = {"Paused": "paused", "Failed": "failed", "Killed": "failed"}
        self.climbers[record.number] = Climber(list(record.rungs), ends.get(record.state, "ended"))

    def values(self, number: int, reports: list[float], is_over: bool, objective: Objective) -> list[float]:
        """The best objective up to each rung that a trial reached; larger is better.

        Args:
            number: The trial's.
            reports: Its objective at every report.
            is_over: It ended by itself: what it has counts at the rungs above it, too.
        """
        sign = 1 if objective.type == "maximize" else -1
        signed = [sign * value for value in reports if math.isfinite(value)]
        rungs = self.bracket_of(number).rungs
        return [max(signed[:rung]) for rung in rungs if signed and (len(signed) >= rung or is_over)]

    def promote(self, *, is_closing: bool = False) -> Leg | None:
        """The trial that goes on now; None where none is worth it yet.

        Args:
            is_closing: No trial will begin any more and none is under way: of each rung at least one goes on.
        """
        for bracket in self._known_brackets():
            chosen = self._asynchronous if self.name == "asha" else self._together
            if (leg := chosen(bracket, is_closing)) is not None:
                return leg
        return None

    def hopeless(self, failures_left: int) -> list[int]:
        """Paused trials that are promoted under no circumstances: their checkpoints are of no use.

        Args:
            failures_left: So many trials ahead of one may still fail, and make room.
        """
        numbers, failed = [], self._failed()
        for bracket in self._known_brackets():
            most = sum(number not in failed for number in bracket.members)
            for rung in range(len(bracket.rungs)):
                most = max(1, most // self.eta)
                ranked = self._ranked(bracket, rung)
                numbers += [n for n in ranked[most + failures_left :] if self._is_paused_at(n, rung)]
        return numbers

    def _known_brackets(self) -> list[Bracket]:
        return list({self.bracket_of(number).members: self.bracket_of(number) for number in self.climbers}.values())

    def _asynchronous(self, bracket: Bracket, is_closing: bool) -> Leg | None:
        """The best of the highest rung that has one in its best 1/eta."""
        for rung in reversed(range(len(bracket.rungs))):
            ranked = self._ranked(bracket, rung)
            share = len(ranked) // self.eta
            if (leg := self._next(bracket, rung, ranked[: max(1, share) if is_closing else share])) is not None:
                return leg
        return None

    def _together(self, bracket: Bracket, is_closing: bool) -> Leg | None:
        """Of a rung that all its trials reached, the best 1/eta: whatever came first, these are the same."""
        members = [n for n in bracket.members if n in self.climbers]
        if len(members) < len(bracket.members) and not is_closing:
            return None
        for rung in range(len(bracket.rungs)):
            failed = self._failed()
            if any(n not in failed and len(self.climbers[n].values) <= rung for n in members):
                return None  # under way to this rung, or about to be
            ranked = [n for n in self._ranked(bracket, rung) if n in members]
            members = ranked[: max(1, len(ranked) // self.eta)]
            if (leg := self._next(bracket, rung, members)) is not None:
                return leg
        return None

    def _next(self, bracket: Bracket, rung: int, chosen: list[int]) -> Leg | None:
        number = next((n for n in chosen if self._is_paused_at(n, rung)), None)
        if number is None:
            return None
        return Leg(number, bracket.rungs[rung + 1] if rung + 1 < len(bracket.rungs) else END)

    def _ranked(self, bracket: Bracket, rung: int) -> list[int]:
        """Numbers of those that reached a rung, the best first, the earlier of equals; failed ones have no place."""
        there = [
            (-climber.values[rung], number)
            for number, climber in self.climbers.items()
            if number in bracket.members and len(climber.values) > rung and climber.progress != "failed"
        ]
        return [number for _, number in sorted(there)]

    def _is_paused_at(self, number: int, rung: int) -> bool:
        climber = self.climbers[number]
        return climber.progress == "paused" and len(climber.values) == rung + 1

    def _failed(self) -> set[int]:
        return {number for number, climber in self.climbers.items() if climber.progress == "failed"}


def rungs_of(spec: SweepSpec, has_defaults: bool) -> Rungs | None:
    """The rungs of a sweep whose trials pause at them; None where trials cannot go on from a checkpoint or need not.

    A function of a person's own and a job of an Experiment keep no checkpoint that we know of: such a trial is given up
    at a rung for good (`search`).
    """
    name = spec.algorithm.algorithmName
    if spec.function or spec.training is None or name not in RUNGS:
        return None
    reports = reports_of(spec.training) or 0
    return Rungs(name, spec.algorithm.settings(), reports, core.most_trials(spec), (0,) if has_defaults else ())


def reports_of(training: TrainingSpec) -> int | None:
    """How often a whole training reports at most; None where only the dataset's rows could tell."""
    if training.steps is None and training.checkpoint_steps is None:
        return math.ceil(training.epochs)
    if training.steps is not None and training.checkpoint_steps is not None:
        return math.ceil(training.steps / training.checkpoint_steps)
    return None


def check_rungs(spec: SweepSpec) -> None:
    """Refuses an algorithm that divides trainings into rungs where that cannot be done.

    Raises:
        InvalidSpec: the recipe fits by itself, or nobody knows how often a training reports.
    """
    name = spec.algorithm.algorithmName
    if name not in RUNGS or spec.function or spec.engine != "optuna":
        return
    training = spec.training or TrainingSpec()
    if isinstance(core.recipe_of_trials(spec), FitsItself):
        raise InvalidSpec(
            f"{name} pauses trials and has them go on from checkpoints; recipe {training.recipe!r} fits by itself",
            field="sweep.algorithm",
            given=name,
            allowed=[each for each in LOCAL if each not in RUNGS],
        )
    settings = spec.algorithm.settings()
    reports = settings.get("r_l") or reports_of(training)
    if reports is None:
        raise InvalidSpec(
            f"{name} divides a training's reports, whose number depends on the rows with "
            f"training.{'steps' if training.checkpoint_steps is None else 'checkpoint_steps'}",
            field="sweep.algorithm.algorithmSettings",
            fix="give r_l, the reports of a whole training, or set both training.steps and training.checkpoint_steps",
        )
    if settings.get("r_min", 1) >= reports > 1:
        raise InvalidSpec(
            f"the lowest rung is no shorter than a whole training of {reports} reports",
            field="sweep.algorithm.algorithmSettings.r_min",
            given=settings["r_min"],
            allowed=f"1 to {reports - 1}",
        )


def _between(first: int, most: int, eta: int) -> tuple[int, ...]:
    """`first` times powers of eta, below `most`."""
    rungs: list[int] = []
    rung: float = first
    while round(rung) < most:
        rungs.append(round(rung))
        rung *= eta
    return tuple(rungs)
