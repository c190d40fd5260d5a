"""Progress lines turned into events, and the faults that wait for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from shipway.executors.process import reaper
from shipway.executors.process.faults import Fault
from shipway.executors.process.plan import JobPlan
from shipway.executors.process.replica import Replica

Tell = Callable[..., None]


class Telemetry:
    """Reads what replicas report about themselves."""

    def __init__(self, plan: JobPlan, replicas: list[Replica], faults: list[Fault], tell: Tell) -> None:
        self.plan = plan
        self.replicas = replicas
        self.faults = faults
        self.tell = tell

    def read(self, *, may_strike: bool) -> None:
        """Tells new progress; lets faults strike unless the job is ending anyway."""
        for replica in self.replicas:
            if replica.start < 0:
                continue
            for name, start, document in replica.progress():
                shown = " ".join(f"{k}={v}" for k, v in document.items() if isinstance(v, int | float | str))
                self.tell("progress", f"{name}: {shown}", **{**document, "replica": name, "restart": start})
                if may_strike:
                    self._strike(name, replica, document)
            if may_strike and replica.is_alive:
                self._strike(replica.name, replica, None)

    def _strike(self, name: str, replica: Replica, document: dict[str, Any] | None) -> None:
        others = {other.name: other for other in self.replicas}
        for fault in self.faults:
            struck = replica if fault.replica == name else others.get(fault.replica)
            if struck is None or not struck.is_alive:
                continue
            running_s = time.monotonic() - struck.started_at
            if not fault.strikes(name, struck.start, running_s, document):
                continue
            pid = self._process_of(fault.replica, struck)
            if pid is None:
                continue
            fault.strike(struck.start)
            self.tell("fault", f"fault injected: {fault.text}", replica=fault.replica, restart=struck.start)
            with suppress(ProcessLookupError):
                os.kill(pid, fault.signal)

    def _process_of(self, name: str, replica: Replica) -> int | None:
        """The replica's first process; that of an MPI rank is found by its environment."""
        if replica.name == name:
            return replica.process.pid if replica.process else None
        return min(reaper.find(self.plan.uid, name), default=None)
