"""How many rows are solved for, and how many get vectors unasked."""

from __future__ import annotations

from shipway.language.reference import USE_MULTILINGUAL

# Rows times classes, of which the solver's time is made: half a million took 2.2 s of a core, and 4.2 s more with
# vectors. A limit in minutes would meet the one on steps that do not come (`stall_timeout_s`) where many processes
# share a core.
MAX_WORK = 3_000_000
MAX_ROWS = 100_000  # that `auto` encodes: half a minute of one core


def too_many(rows: int, classes: int) -> str:
    """Why so many rows are not solved for; empty where they are."""
    return f"{rows:,} rows x {classes:,} classes are above {MAX_WORK:,}" if rows * classes > MAX_WORK else ""


def too_many_to_encode(rows: int, classes: int) -> str:
    """Why `auto` leaves an encoder out of a dataset; empty where it does not.

    Beyond what is solved for nobody could tell what vectors bring.
    """
    why = f"{rows:,} rows are above {MAX_ROWS:,}" if rows > MAX_ROWS else too_many(rows, classes)
    return f"{why}; ask for {USE_MULTILINGUAL} by name" if why else ""
