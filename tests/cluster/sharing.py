"""Whether this session holds on to the bed, so that nobody takes it down under its tests."""

from __future__ import annotations

import contextlib

from tests.cluster.bed.bed import in_use

_session = contextlib.ExitStack()


def hold() -> None:
    """From now on `down` refuses."""
    _session.enter_context(in_use())


def release() -> None:
    """This session lets go of the bed."""
    _session.close()
