"""Schedules as recurring runs make them up: which belong together, which are left over, which are other people's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shipway.errors import InvalidSpec
from shipway.remote.api import Api
from shipway.remote.marks import ID, read_mark
from shipway.remote.recurring import SHOWN, moments_of, trigger_of, window_of
from shipway.remote.zones import find_zone

NEAR = timedelta(days=90)  # a horizon that ends within them is told


@dataclass
class Schedule:
    """A schedule as it is: the newest generation's recurring runs.

    Attributes:
        said: What its description says; empty for a recurring run that was made elsewhere.
        older: What a change that broke off left behind.
        twins: What somebody made at the same moment as the same part, a little later.
    """

    name: str
    parts: list[Any]
    said: dict[str, Any] = field(default_factory=dict)
    older: list[Any] = field(default_factory=list)
    twins: list[Any] = field(default_factory=list)

    @property
    def is_enabled(self) -> bool:
        """Whether any part may fire."""
        return any(part.status == "ENABLED" for part in self.parts)

    @property
    def is_whole(self) -> bool:
        """Whether no part is missing."""
        return len(self.parts) == int(self.said.get("parts", 1))

    @property
    def trigger(self) -> str:
        """As the person said it, else what Kubeflow holds."""
        return str(self.said.get("when") or trigger_of(self.parts[0]).text)

    @property
    def zone(self) -> str:
        """In which it was said."""
        return str(self.said.get("zone", ""))

    @property
    def params(self) -> dict[str, Any]:
        """What each run is given."""
        config = self.parts[0].runtime_config
        return dict((config and config.parameters) or {})

    @property
    def catches_up(self) -> bool:
        """Whether missed slots are made up for."""
        return not self.parts[0].no_catchup

    def next_times(self, cluster_zone: str, count: int = SHOWN) -> list[datetime]:
        """When it will fire, in its zone; nothing while it is paused."""
        if not self.is_enabled:
            return []
        zone = find_zone(self.zone or cluster_zone)
        now = datetime.now(UTC).replace(microsecond=0)
        moments: list[datetime] = []
        for part in self.parts:
            moments += moments_of(part, now, cluster_zone, count)
        return [at.astimezone(zone) for at in sorted(moments)[:count]]

    @property
    def end(self) -> datetime | None:
        """The last moment at which it may fire; None for none."""
        ends = [window_of(part)[1] for part in self.parts]
        return None if None in ends else max(end for end in ends if end is not None)

    @property
    def horizon(self) -> datetime | None:
        """How far its clock changes are written down, where nobody asked for an end; a change moves it."""
        return self.end if self.said and not self.said.get("end") else None

    @property
    def runs_out(self) -> bool:
        """Whether the horizon is near, or behind us."""
        return self.horizon is not None and self.horizon - datetime.now(UTC) < NEAR


def list_schedules(api: Api) -> list[Schedule]:
    """All schedules, recurring runs made in the UI among them, by name."""
    ours: dict[str, list[tuple[dict[str, Any], Any]]] = {}
    elsewhere = []
    for job in api.recurring():
        said = read_mark(job)
        if said:
            ours.setdefault(str(said["name"]), []).append((said, job))
        else:
            elsewhere.append(job)
    schedules = [_newest(name, entries) for name, entries in ours.items()]
    heirs = {(schedule.name, schedule.said.get("replaces")): schedule for schedule in schedules}
    for job in elsewhere:
        heir = heirs.get((str(job.display_name), str(job.recurring_run_id)[:ID]))
        if heir is not None:
            heir.older.append(job)
        else:
            schedules.append(Schedule(str(job.display_name), [job]))
    return sorted(schedules, key=lambda schedule: schedule.name)


def _newest(name: str, entries: list[tuple[dict[str, Any], Any]]) -> Schedule:
    """The newest generation. Of what two processes made as one part the oldest stays, whoever looks and whenever."""
    newest = max(said["generation"] for said, _ in entries)
    current = [(said, job) for said, job in entries if said["generation"] == newest]
    current.sort(key=lambda one: (one[0]["part"], one[1].created_at, str(one[1].recurring_run_id)))
    first = current[0][0]
    parts: dict[int, Any] = {}
    twins = []
    for said, job in current:
        if said["part"] in parts or said["parts"] != first["parts"]:
            twins.append(job)
        else:
            parts[said["part"]] = job
    older = [job for said, job in entries if said["generation"] < newest]
    return Schedule(name, list(parts.values()), first, older, twins)


def pick(schedules: list[Schedule], name: str) -> Schedule | None:
    """The schedule of that name, ours before one that was made elsewhere; a recurring run's id names it too.

    Raises:
        InvalidSpec: several that were made elsewhere are called so.
    """
    named = [schedule for schedule in schedules if schedule.name == name]
    chosen = [schedule for schedule in named if schedule.said] or named
    chosen = chosen or [s for s in schedules if name in (str(part.recurring_run_id) for part in s.parts)]
    if len(chosen) > 1:
        ids = ", ".join(str(schedule.parts[0].recurring_run_id) for schedule in chosen)
        raise InvalidSpec(
            f"{len(chosen)} recurring runs are called {name!r}",
            field="schedule",
            given=name,
            fix=f"name one by its id: {ids}",
        )
    return chosen[0] if chosen else None
