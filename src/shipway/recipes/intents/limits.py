"""How many rows are solved for, and how many get vectors unasked."""

from __future__ import annotations

from shipway.language.reference import USE_MULTILINGUAL

# Rows times classes, of which the solver's time is made: 1.7 million took 18 s of a core. A limit in minutes would meet
# the one on steps that do not come (`stall_timeout_s`) where many processes share a core.
MAX_WORK = 3_000_000
# One vector beside 150 n-grams: a row is so many times as long for the solver.
VECTOR_WORK = 4
MAX_ROWS = 100_000  # that `auto` encodes: half a minute of one core


def too_many(rows: int, classes: int, *, has_vectors: bool) -> str:
    """Why so many rows are not solved for; empty where they are."""
    most = MAX_WORK // VECTOR_WORK if has_vectors else MAX_WORK
    return f"{rows:,} rows x {classes:,} classes are above {most:,}" if rows * classes > most else ""


def too_many_to_encode(rows: int, classes: int) -> str:
    """Why `auto` leaves an encoder out of a dataset; empty where it does not.

    Beyond what is solved for nobody could tell what vectors bring.
    """
    why = f"{rows:,} rows are above {MAX_ROWS:,}" if rows > MAX_ROWS else too_many(rows, classes, has_vectors=True)
    return f"{why}; ask for {USE_MULTILINGUAL} by name" if why else ""
