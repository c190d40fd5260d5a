"""Code that the environment names: what a replica or predictor is started with, and what a person allows by hand."""

from __future__ import annotations

import os
import shlex

from shipway import modules

GIVEN = "SHIPWAY_CODE"  # ADDRESS#sha256=HASH


def given() -> str:
    """The code that this process was given, as it stands there."""
    return os.environ.get(GIVEN, "").strip()


def use_given() -> None:
    """Installs the code that this process was given, unless a run's own is in use.

    Raises:
        InvalidSpec: it is no code, or other bytes than its hash says.
    """
    if given() and not modules.code_in_use():
        from shipway.code.installing import use

        use(given(), GIVEN)


def allowing(code: str) -> str:
    """What a person types who knows whose code it is; whatever a document says there, a shell takes it as one word."""
    return f"{GIVEN}={shlex.quote(code)}"
