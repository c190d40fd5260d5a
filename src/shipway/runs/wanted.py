"""The steps that a person means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shipway.errors import NotFound, nearest

if TYPE_CHECKING:
    from shipway.artifacts import StepRecord


def wanted_steps(
    steps: Mapping[str, StepRecord], wanted: str | None, where: str, others: Sequence[str] = ()
) -> list[str]:
    """Names of those that are called so; without a name the one that failed, else all that began.

    Args:
        steps: By name.
        wanted: As typed; None for no name.
        where: For the message.
        others: Names of logs that no step's record is known of.

    Raises:
        NotFound: no step is called so; names those there are, and the nearest.
    """
    if wanted is not None:
        called = {name: called_by(record) for name, record in steps.items()}
        return find_steps(wanted, {**{name: [name] for name in others}, **called}, where)
    failed = next((name for name, record in steps.items() if record.state == "Failed"), None)
    if failed is not None:
        return [failed]
    return [*others, *(name for name, record in steps.items() if record.state not in ("Pending", "Skipped"))]


def called_by(step: StepRecord) -> list[str]:
    """What a person may call a step, its label first; a part of it is seen with it."""
    words = [(piece.label, piece.name, piece.title, piece.task, piece.role) for piece in (step, *step.parts)]
    return [word for piece in words for word in piece if word]


def find_steps(wanted: str, called: Mapping[str, Sequence[str]], where: str) -> list[str]:
    """The step of that name, else all that are called so: iterations of one task, steps of one role.

    Args:
        wanted: As typed; capitals do not matter.
        called: Step's name -> what it may be called, what screens call it first.
        where: For the message.

    Raises:
        NotFound: no step is called so; names those there are, and the nearest.
    """
    if wanted in called:
        return [wanted]
    matching = [name for name, words in called.items() if wanted.lower() in [word.lower() for word in words]]
    if matching:
        return matching
    there = ", ".join(f"{name} ({words[0]})" if words[0] != name else name for name, words in called.items())
    names = [*called, *(word for words in called.values() for word in words)]
    raise NotFound(
        f"{where} has no step {wanted!r}; there are {there or 'none'}{nearest(wanted, names)}",
        field="logs",
        given=wanted,
    )
