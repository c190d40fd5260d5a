"""Who starts a run, and by which key the same event starts it only once."""

from __future__ import annotations

import getpass
import os
import re
import socket

from shipway.errors import InvalidSpec

LONGEST = 100
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@=+-]{0,99}")


def who_types() -> str:
    """`name@host` of the person at this machine; empty where no user name is known."""
    try:
        return f"{os.environ.get('NB_USER') or getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return ""


def check_starter(started_by: str) -> str:
    """A name that whoever starts a run gives for themselves.

    Raises:
        InvalidSpec: it cannot stand in a list of runs.
    """
    if not started_by.isprintable() or len(started_by) > LONGEST:
        raise InvalidSpec(
            f"{started_by!r:.120}: expected at most {LONGEST} printable characters on a line", field="started_by"
        )
    return started_by


def check_key(key: str) -> str:
    """An idempotency key; it stands in the run's name, by which it is looked for.

    Raises:
        InvalidSpec: it cannot.
    """
    if not _KEY.fullmatch(key):
        raise InvalidSpec(
            (f"{key!r:.120}: expected up to 100 letters, digits and . _ : / @ = + -, the first a letter or digit"),
            field="key",
        )
    return key
