"""Names of columns: a user's never meet ours, whatever the user calls them.

On entry each column of a source gets the prefix `USER`, so that inside a frame a user's `_row` and ours are two
columns. On the way out it gets its own name back, or `source_<name>` where that name means something to us or to
Polars. The rule looks at one name alone and never maps two to one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from shipway.errors import InvalidSpec, nearest

USER = "in:"
SHOWN = 40  # names in a message
OURS = ("label", "group", "split", "row_id")  # beside the input's own columns
# Columns that scoring adds to rows whose slices are measured (shipway.scoring).
SCORED = ("group_hash", "predicted", "probability", "label_probability", "sureness", "probabilities", "champion")


@lru_cache(maxsize=16)
def _taken(inputs: tuple[str, ...]) -> re.Pattern[str]:
    """Ours: the input's columns, roles, what scoring adds, everything with an underscore in front. Polars': `*` and
    `^...$` are patterns, "" is no name."""
    names = "|".join(map(re.escape, (*inputs, *OURS, *SCORED)))
    return re.compile(rf"(source_)*({names}|_.*|\*|\^.*\$|{USER}.*|)", re.DOTALL)


def outgoing(name: str, inputs: tuple[str, ...]) -> str:
    """What a user's column is called in the dataset's row files.

    Args:
        inputs: The input's columns.
    """
    return f"source_{name}" if _taken(inputs).fullmatch(name) else name


def check_slices(slices: Iterable[str], names: Sequence[str]) -> None:
    """Refuses slices over a column that the rows will not have.

    Args:
        slices: Of the evaluation.
        names: All columns of the dataset's row files.

    Raises:
        InvalidSpec: names the columns there are.
    """
    for name in slices:
        if name not in names:
            shown = [*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])]
            raise InvalidSpec(
                "the rows will have no column",
                field="evaluation.slices",
                given=name,
                allowed=f"one of {', '.join(shown)}{nearest(name, names)}",
            )


def free(name: str, taken: Iterable[str]) -> str:
    """The name, with underscores behind it until no other column has it."""
    others = set(taken)
    while name in others:
        name += "_"
    return name
