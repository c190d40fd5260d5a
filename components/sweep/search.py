"""Which parameters come next, and which trial is not worth finishing: Optuna behind four calls.

A suggestion is a pure function of (seed, trial number, trials told so far): every trial draws from a random state of
its own. So a search that was killed and rebuilt from its trials goes on exactly as it would have, and the same seed
gives the same sequence wherever trials run one after another.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from shipway.artifacts import TrialRecord
from shipway.components.sweep import algorithms
from shipway.components.sweep.space import Space, Values
from shipway.components.sweep.spec import SweepSpec

STARTUP_TRIALS = 6  # before TPE has enough to model: quasi-random points (docs/decisions/0072-default-search.md)
REDRAWS = 16  # how often a combination that was tried already is drawn anew
MODELLED_REDRAWS = 3  # of these, how many ask TPE again, which is slow and likely to repeat itself
FEW = 10_000  # combinations that may be listed
STATES = {
    "Succeeded": optuna.trial.TrialState.COMPLETE,
    "EarlyStopped": optuna.trial.TrialState.PRUNED,
    "Failed": optuna.trial.TrialState.FAIL,
    "Killed": optuna.trial.TrialState.FAIL,
}


class Search:
    """One sweep's search over its space.

    Args:
        spec: The sweep; its algorithm must run here.
        first: Parameters of the first trial, the defaults; None: the algorithm chooses that one too.
        reports: How often a trial reports at most; what hyperband divides. 0: not known.
        pauses: Trials pause at rungs (`rungs`), and none is given up here.
    """

    def __init__(self, spec: SweepSpec, first: Values | None, reports: int = 0, pauses: bool = False) -> None:
        name = spec.algorithm.algorithmName
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.spec, self.name = spec, name
        self.space = Space(spec.parameters)
        self.settings = spec.algorithm.settings()
        self.seed = int(self.settings.get("random_state", spec.seed))
        self.first = self.space.encode(first) if first is not None else None
        self.distributions = {name: _distribution(axis) for name, axis in self.space.axes.items()}
        self._grid = self._grid_points() if name == "grid" else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.study = optuna.create_study(
                study_name="sweep",
                direction=spec.objective.type,
                sampler=self._sampler(0),
                pruner=optuna.pruners.NopPruner() if pauses else _pruner(spec, self.settings, reports),
            )
        self._running: dict[int, optuna.trial.Trial] = {}
        self._tried: set[tuple[tuple[str, float], ...]] = set()

    def ask(self) -> tuple[int, Values] | None:
        """Number and parameters of the next trial; None where every combination was tried."""
        number = len(self.study.get_trials(deepcopy=False))
        if number >= (len(self._grid) if self.name == "grid" else self.space.size):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            internal = self._suggest(number)
            if internal is not None:
                self.study.enqueue_trial(internal)
            self.study.sampler = self._sampler(number)
            trial = self.study.ask(self.distributions)
        return trial.number, self._began(trial)

    def restore(self, record: TrialRecord, memory: Mapping[str, Any] | None = None) -> None:
        """Adds a trial that an earlier engine knew, in the order of numbers.

        Args:
            record: A finished trial, or one that was `Running` or `Paused` and will be told later.
            memory: What `memory` gave for it.
        """
        internal = self.space.encode(record.params)
        if record.state in ("Running", "Paused"):
            self.study.enqueue_trial(internal)
            self._began(self.study.ask(self.distributions))
            for index, (_, value) in enumerate(record.history, start=1):
                self._running[record.number].report(value, index)
            return
        self._tried.add(_key(internal))
        self.study.add_trial(
            optuna.trial.create_trial(
                state=STATES[record.state],
                params=internal,
                distributions=self.distributions,
                value=record.history[-1][1] if record.state == "EarlyStopped" else self._value(record),
                intermediate_values={i: value for i, (_, value) in enumerate(record.history, start=1)},
                system_attrs=dict(memory or {}),
            )
        )

    def judges(self, number: int) -> bool:
        """Whether a trial may be given up. The defaults never are: the sweep must know how good they are."""
        return (number > 0 or self.first is None) and not isinstance(self.study.pruner, optuna.pruners.NopPruner)

    def report(self, number: int, index: int, value: float) -> bool:
        """Notes an intermediate objective; True when the trial is not worth going on with.

        Reports are counted from 1, as Katib counts them: a trial's own steps may be epochs or optimiser steps.
        """
        trial = self._running[number]
        trial.report(value, index)
        return self.judges(number) and bool(trial.should_prune())

    def tell(self, record: TrialRecord) -> None:
        """Notes how a trial ended."""
        self._running.pop(record.number)
        value = self._value(record)
        if record.state == "EarlyStopped":
            value = None  # Optuna takes the last report
        self.study.tell(record.number, value, state=STATES[record.state])

    def memory(self, number: int) -> dict[str, Any]:
        """What the algorithm must remember of a trial beyond its record (the state of CMA-ES)."""
        return dict(self.study.get_trials(deepcopy=False)[number].system_attrs)

    def importance(self) -> dict[str, float]:
        """Share of the objective's variance that each parameter explains (fANOVA), largest first."""
        finished = [t for t in self.study.get_trials(deepcopy=False) if t.state == STATES["Succeeded"]]
        if len(finished) < 4 or len({t.value for t in finished}) < 2:
            return {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                shares = optuna.importance.get_param_importances(
                    self.study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
                )
        except (RuntimeError, ValueError):
            return {}
        return {name: round(float(share), 6) for name, share in shares.items()}

    def export(self, path: Path) -> None:
        """Writes the study as an SQLite file that Optuna's own tools open."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optuna.copy_study(
                from_study_name=self.study.study_name,
                from_storage=self.study._storage,
                to_storage=f"sqlite:///{path}",
            )

    def _began(self, trial: optuna.trial.Trial) -> Values:
        self._running[trial.number] = trial
        self._tried.add(_key(trial.params))
        return self.space.decode(trial.params)

    def _value(self, record: TrialRecord) -> float | None:
        from shipway.components.sweep.core import final_value

        if record.state != "Succeeded":
            return None
        return final_value(self.spec.objective, record.metrics, record.history)

    def _suggest(self, number: int) -> dict[str, float] | None:
        """Internal values of trial `number`; None where the sampler chooses while the trial is created."""
        if number == 0 and self.first is not None:
            return self.first
        if self.name == "grid":
            return self._grid[number]
        if self.name == "cmaes":
            return None
        for redraw in range(REDRAWS):
            internal = self._draw(number, redraw)
            if _key(internal) not in self._tried:
                return internal
        if self.space.size <= FEW:
            left = [point for point in self.space.grid() if _key(point) not in self._tried]
            return left[int(np.random.default_rng([self.seed, number]).integers(len(left)))] if left else internal
        return internal

    def _draw(self, number: int, redraw: int) -> dict[str, float]:
        random = np.random.default_rng([self.seed, number, redraw])
        modelled = self.name in algorithms.TPE
        startup = int(self.settings.get("n_startup", STARTUP_TRIALS))
        if redraw == 0 and self.name == "sobol":
            return self.space.from_unit(_sobol_point(len(self.space.axes), self.seed, number))
        if redraw == 0 and modelled and number < startup:
            return self.space.from_unit(_spread_point(len(self.space.axes), self.seed, number))
        finished = [t for t in self.study.get_trials(deepcopy=False) if t.state != STATES["Failed"]]
        if not modelled or len(finished) < min(startup, 2) or redraw > MODELLED_REDRAWS:
            return self.space.from_unit(list(random.random(len(self.space.axes))))
        # A copy of the study is asked, so that a draw may be thrown away.
        copy = optuna.create_study(direction=self.spec.objective.type, sampler=self._sampler(number, redraw))
        copy.add_trials(self.study.get_trials(deepcopy=False))
        return dict(copy.ask(self.distributions).params)

    def _sampler(self, number: int, redraw: int = 0) -> optuna.samplers.BaseSampler:
        seed = int(np.random.SeedSequence([self.seed, number, redraw]).generate_state(1)[0])
        if self.name == "cmaes":
            return optuna.samplers.CmaEsSampler(
                x0={k: v for k, v in (self.first or {}).items() if not _is_categorical(self.distributions[k])} or None,
                sigma0=self.settings.get("sigma"),
                with_margin=any(d.step for d in self.distributions.values() if hasattr(d, "step")),
                independent_sampler=optuna.samplers.RandomSampler(seed=seed),
                warn_independent_sampling=False,
                seed=self.seed,
            )
        if self.name not in algorithms.TPE:
            return optuna.samplers.RandomSampler(seed=seed)
        gamma = self.settings.get("gamma")
        return optuna.samplers.TPESampler(
            n_startup_trials=1,
            n_ei_candidates=self.settings.get("n_EI_candidates", 24),
            prior_weight=self.settings.get("prior_weight", 1.0),
            multivariate=self.name == "multivariate-tpe",
            constant_liar=True,
            seed=seed,
            **({"gamma": lambda n: max(1, min(int(np.ceil(gamma * n)), 25))} if gamma else {}),
        )

    def _grid_points(self) -> list[dict[str, float]]:
        points = list(self.space.grid())
        return points if self.first is None else [self.first, *(point for point in points if point != self.first)]


def _key(internal: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((name, float(value)) for name, value in internal.items()))


def _distribution(axis: Any) -> Any:
    low, high = axis.bounds
    kind = axis.parameter.parameterType
    if kind == "categorical":
        return optuna.distributions.CategoricalDistribution(list(range(int(high) + 1)))
    if kind == "discrete":
        return optuna.distributions.IntDistribution(0, int(high))
    if kind == "int":
        return optuna.distributions.IntDistribution(int(low), int(high), log=axis.is_log, step=int(axis.step or 1))
    return optuna.distributions.FloatDistribution(low, high, log=axis.is_log, step=axis.step)


def _is_categorical(distribution: Any) -> bool:
    return isinstance(distribution, optuna.distributions.CategoricalDistribution)


def _sobol_point(dimensions: int, seed: int, number: int) -> list[float]:
    """Point `number` of a scrambled Sobol sequence (Owen 1998), in [0, 1)."""
    from scipy.stats import qmc

    engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    if number:  # scipy overflows at 0
        engine.fast_forward(number)
    return [float(share) for share in engine.random(1)[0]]


def _spread_point(dimensions: int, seed: int, number: int) -> list[float]:
    """Point `number` of the additive recurrence by powers of the generalised golden ratio (Roberts 2018), shifted by
    the seed: spreads few points better than chance does, and needs no scipy, whose import takes longer than a trial."""
    ratio = 1.0
    for _ in range(40):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    shift = np.random.default_rng([seed]).random(dimensions)
    return [float((shift[i] + number / ratio ** (i + 1)) % 1) for i in range(dimensions)]


def _pruner(spec: SweepSpec, settings: Mapping[str, Any], reports: int) -> optuna.pruners.BasePruner:
    if spec.algorithm.algorithmName == "asha":  # of trials without checkpoints: one that falls behind never goes on
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=int(settings.get("r_min", 1)), reduction_factor=int(settings.get("eta", 3))
        )
    if spec.algorithm.algorithmName == "hyperband":
        most = int(settings.get("r_l") or reports) or "auto"
        return optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=most, reduction_factor=int(settings.get("eta", 3))
        )
    if spec.earlyStopping is None:
        return optuna.pruners.NopPruner()
    given = spec.earlyStopping.settings()  # Katib's defaults where nothing is given
    return optuna.pruners.MedianPruner(
        n_startup_trials=given.get("min_trials_required", 3), n_warmup_steps=given.get("start_step", 4)
    )
