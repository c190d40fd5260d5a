"""What a sweep may cost: all trials ask for the same resources, so every budget is a number of seconds of trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from shipway.artifacts import SweepAccount
from shipway.errors import InvalidSpec
from shipway.specs import Spec

if TYPE_CHECKING:
    from shipway.components.sweep.spec import SweepSpec

HOUR = 3600.0
_UNITS = {"gpu_hours": " GPU hours", "cpu_hours": " CPU hours", "money": ""}
ENDING_S = 5.0  # for a trial's process to end that is told to


class Budget(Spec):
    """What all trials together may cost at most; of several limits the one that is reached first."""

    trials: Annotated[int, Field(ge=1)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None  # GPUs of a trial times the time it has them
    cpu_hours: Annotated[float, Field(gt=0)] | None = None  # the same with its cores
    money: Annotated[float, Field(gt=0)] | None = None
    price_per_gpu_hour: Annotated[float, Field(ge=0)] = 0.0
    price_per_cpu_hour: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.trials is None and self.gpu_hours is None and self.cpu_hours is None and self.money is None:
            raise ValueError("give at least one of trials, gpu_hours, cpu_hours, money")
        if self.money is not None and not self.price_per_gpu_hour + self.price_per_cpu_hour:
            raise ValueError("money needs price_per_gpu_hour or price_per_cpu_hour")
        return self


@dataclass(frozen=True)
class Account:
    """What trials cost.

    Attributes:
        gpus, cores: That one trial has.
        budget: None: there is no limit.
    """

    gpus: float
    cores: float
    budget: Budget | None = None

    @property
    def price_per_hour(self) -> float:
        """Of one trial, where the budget names prices."""
        prices = self.budget or Budget(trials=1)
        return self.gpus * prices.price_per_gpu_hour + self.cores * prices.price_per_cpu_hour

    @property
    def rates(self) -> dict[str, float]:
        """Kind of cost -> how much of it an hour of one trial is."""
        rates = {"gpu_hours": self.gpus, "cpu_hours": self.cores, "money": self.price_per_hour}
        return {name: rate for name, rate in rates.items() if rate > 0}

    @property
    def limits_s(self) -> dict[str, float]:
        """Kind of cost -> how many seconds of trials its limit is worth."""
        given = {name: getattr(self.budget, name) for name in self.rates} if self.budget else {}
        return {name: HOUR * limit / self.rates[name] for name, limit in given.items() if limit is not None}

    @property
    def limit_s(self) -> float | None:
        """Seconds of all trials together; None: any number."""
        return min(self.limits_s.values(), default=None)

    def stop_at_s(self, running: int) -> float | None:
        """When trials that are under way must be ended, for their processes to be gone within the budget."""
        return None if self.limit_s is None else self.limit_s - min(ENDING_S * max(running, 1), self.limit_s / 20)

    def text(self, seconds: float) -> str:
        """`0.52 of 1 GPU hours`: by the limit that is reached first; without one, what was spent."""
        name = self._counted
        limit = getattr(self.budget, name) if name in self.limits_s else None
        of = "" if limit is None else f" of {limit:.4g}"
        return f"{seconds / HOUR * self.rates.get(name, 0.0):.4g}{of}{_UNITS[name]}"

    def amount(self, seconds: float) -> str:
        """The same, without the limit."""
        return f"{seconds / HOUR * self.rates.get(self._counted, 0.0):.4g}{_UNITS[self._counted]}"

    @property
    def _counted(self) -> str:
        usual = "gpu_hours" if self.gpus else "cpu_hours"
        return min(self.limits_s, key=lambda name: self.limits_s[name], default=usual)

    def closed(self, seconds: float, ended_by: str) -> SweepAccount:
        """The account as the sweep's record keeps it."""
        spent = {name: round(seconds / HOUR * rate, 6) for name, rate in self.rates.items()}
        return SweepAccount(
            gpus=self.gpus,
            cores=self.cores,
            price_per_hour=self.price_per_hour,
            spent=spent,
            budget=self.budget.model_dump(exclude_none=True) if self.budget else {},
            ended_by=ended_by,
        )


def account_of(spec: SweepSpec) -> Account:
    """The account of a sweep's trials: each is one replica, which asks for what the training's chief does."""
    if spec.training is None:
        return Account(0.0, 1.0, spec.budget)
    asked = spec.training.resources.of("chief")
    return Account(float(asked.gpu), asked.cores, spec.budget)


def check_budget(spec: SweepSpec) -> None:
    """Refuses a budget that nothing can be held against, or that is below one trial.

    Raises:
        InvalidSpec: names the limit, and what to do.
    """
    budget = spec.budget
    if budget is None:
        return
    if spec.engine == "katib":
        raise InvalidSpec(
            "Katib knows no budget but maxTrialCount", field="sweep.budget", fix="leave it out, or leave engine out"
        )
    if min(spec.maxTrialCount, budget.trials or spec.maxTrialCount) <= 1:
        raise InvalidSpec(
            "nothing to spend it on: a sweep of one trial searches nothing",
            field="sweep.budget",
            fix="give sweep.maxTrialCount, how many trials at most (and budget.trials above 1)",
        )
    account = account_of(spec)
    if budget.gpu_hours is not None and not account.gpus:
        raise InvalidSpec(
            "trials have no GPU",
            field="sweep.budget.gpu_hours",
            given=budget.gpu_hours,
            fix="give cpu_hours, or training.resources.gpu",
        )
    if budget.money is not None and not account.price_per_hour:
        raise InvalidSpec(
            "trials have no GPU, and nothing else has a price",
            field="sweep.budget.money",
            given=budget.money,
            fix="give price_per_cpu_hour, or training.resources.gpu",
        )
    for name, limit_s in account.limits_s.items():
        if spec.trial_deadline_s is not None and spec.trial_deadline_s > limit_s:
            least = spec.trial_deadline_s / HOUR * account.rates[name]
            raise InvalidSpec(
                f"below one trial, which may take trial_deadline_s of {spec.trial_deadline_s:g} s",
                field=f"sweep.budget.{name}",
                given=getattr(budget, name),
                allowed=f"at least {least:.4g}",
            )
