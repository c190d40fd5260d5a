"""What a test wants to go wrong, said in the manifest's annotation `shipway.dev/fault`.

    kill worker-1 when progress.step>=20 with KILL
    kill chief-0 when started with TERM times 3; kill worker-0 when after>=1.5 with SEGV
    kill ps-0 when progress.step>=20 of chief-0 with KILL

Clauses stand apart by `;`. `progress.<field>` is compared with the replica's own progress objects, or with those of the
one behind `of`; `after` with the seconds since its start. A clause strikes one start of the replica in an attempt, or
as many as `times` says. Only processes of this machine listen to it.
"""

from __future__ import annotations

import operator
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shipway.errors import InvalidSpec

_CLAUSE = re.compile(
    r"kill\s+(?P<replica>[a-z]+-\d+)\s+when\s+(?P<what>started|after|progress\.(?P<field>\w+))"
    r"(?:\s*(?P<op>>=|<=|==|>|<)\s*(?P<value>-?\d+(?:\.\d+)?))?(?:\s+of\s+(?P<of>[a-z]+-\d+))?"
    r"\s+with\s+(?:SIG)?(?P<signal>[A-Z]+)(?:\s+times\s+(?P<times>\d+))?"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass
class Fault:
    """One clause."""

    text: str
    replica: str
    what: str
    key: str
    op: str
    value: float
    signal: signal.Signals
    times: int
    watched: str  # whose progress it waits for
    struck: set[int] = field(default_factory=set)

    def strikes(self, watched: str, start: int, running_s: float, progress: dict[str, Any] | None) -> bool:
        """Whether it strikes this start of its replica now; `progress` is a new object of `watched`, None between
        them."""
        if watched != self.watched or start in self.struck or len(self.struck) >= self.times:
            return False
        if self.what == "started":
            return True
        if self.what == "after":
            return _COMPARE[self.op](running_s, self.value)
        given = (progress or {}).get(self.key)
        return isinstance(given, int | float) and _COMPARE[self.op](given, self.value)

    def strike(self, start: int) -> None:
        """Remembers that it struck this start of the replica."""
        self.struck.add(start)


def parse_fault(text: str) -> Fault:
    """One clause of the annotation.

    Raises:
        InvalidSpec: shows what a clause looks like.
    """
    clause = _CLAUSE.fullmatch(text)
    name = f"SIG{clause['signal']}" if clause else ""
    is_sound = clause and name in signal.Signals.__members__ and (clause["what"] != "started") == bool(clause["op"])
    if not clause or not is_sound or (clause["of"] and not clause["field"]):
        raise InvalidSpec(
            f"cannot read {text!r}; expected, for example, 'kill worker-1 when progress.step>=20 with "
            "KILL', 'kill worker-0 when after>=1.5 with TERM times 2' or 'kill worker-0 when started "
            "with KILL'",
            field="metadata.annotations['shipway.dev/fault']",
            given=text,
        )
    return Fault(
        text=text,
        replica=clause["replica"],
        what=clause["what"],
        key=clause["field"] or "",
        op=clause["op"] or ">=",
        value=float(clause["value"] or 0),
        signal=signal.Signals[name],
        times=int(clause["times"] or 1),
        watched=clause["of"] or clause["replica"],
    )
