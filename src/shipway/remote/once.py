"""Creating something exactly once over a network that loses answers.

Kubeflow has no idempotency keys. So what we create carries a name or a mark of its own, and when an answer is lost we
look for that mark before anything is sent again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from shipway.errors import KubeflowError, LostAnswer, ShipwayError
from shipway.patience import Patience

T = TypeVar("T")
LOOKS = 4  # after each lost answer: a request that a proxy gave up on may land a moment later


def new_mark() -> str:
    """Eight hexadecimal digits that nobody else will draw for something of the same name."""
    return secrets.token_hex(4)


def create_once(what: str, create: Callable[[], T], find: Callable[[], T | None], patience: Patience) -> T:
    """What `create` gives, or what an earlier, unanswered try of ours created.

    Args:
        what: For messages, `run my-bot 1a2b3c4d`.
        create: Sends the request once.
        find: Looks for the mark.
        patience: How often, and with which pauses.

    Raises:
        KubeflowError: unknown whether it was created, and nothing was sent again: after a timeout nothing was found,
            and the server may still be at it; or it could not be looked for.
    """
    tries = patience.tries()
    while True:
        try:
            return create()
        except LostAnswer as lost:
            try:
                existing = _look(find, patience)
            except ShipwayError as error:  # gone before it could be asked: typed again, it might be created twice
                raise _unknown(what, f"{lost}; then {error}") from error
            if existing is not None:
                return existing
            if lost.may_go_on:
                raise _unknown(what, str(lost)) from lost
            if not tries.again():
                raise KubeflowError(f"{what}: not created: {lost}") from lost


def _unknown(what: str, why: str) -> KubeflowError:
    return KubeflowError(
        f"{what}: unknown whether it was created ({why}); nothing was sent again. Look for it in a minute under that "
        f"name, and type the command again only if it is not there"
    )


def _look(find: Callable[[], T | None], patience: Patience) -> T | None:
    tries = replace(patience, attempts=LOOKS).tries()
    while (existing := find()) is None and tries.again():
        pass
    return existing
