"""Cron as Kubeflow reads it: six fields, seconds first; and the moments it means in a time zone, over clock changes.

The rules are those of the parser in Kubeflow's controller (robfig/cron 1.2): numbers, names, ranges, steps and lists;
where day of month and day of week are both restricted, either fits. Five fields, as everybody else writes cron, would
be read there as seconds to months: they are turned into six here.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from shipway.errors import InvalidSpec, nearest

MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, MONTHS),
    ("day of week", 0, 6, WEEKDAYS),
)
SHORT = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
YEARS = 5  # the controller looks no further, and neither do we
SLOT = timedelta(minutes=15)  # every zone's offset is a multiple of it, so the clock never jumps inside a slot


@dataclass(frozen=True)
class Cron:
    """A schedule's fields as sets of numbers.

    Attributes:
        text: Six fields, as Kubeflow takes them.
        has_star_day: Whether day of month or day of week was left open; both then have to fit.
    """

    text: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    has_star_day: bool

    def fits_day(self, day: date) -> bool:
        """Whether it fires on that day."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, (day.weekday() + 1) % 7 in self.weekdays
        return in_month and in_week if self.has_star_day else in_month or in_week

    def after(self, moment: datetime, zone: tzinfo) -> Iterator[datetime]:
        """The moments behind `moment` at which the clock of `zone` shows what the fields say, in order.

        A time that the clock skips is left out, one that it shows twice comes twice: as the controller has it.
        """
        moment = moment.astimezone(UTC)
        day = moment.astimezone(zone).date()
        last = moment
        while day.year <= last.year + YEARS:
            if self.fits_day(day):
                for at in self._on(day, zone):
                    if at > moment:
                        last = at
                        yield at
            day += timedelta(days=1)

    def _on(self, day: date, zone: tzinfo) -> Iterator[datetime]:
        slot = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        # The clock may have been set back over midnight: begin where the day begins, end where it has ended.
        for _ in range(27 * 4):
            local = slot.astimezone(zone)
            if local.date() == day and local.hour in self.hours:
                for minute in range(local.minute, local.minute + 15):
                    if minute in self.minutes:
                        for second in sorted(self.seconds):
                            yield slot + timedelta(minutes=minute - local.minute, seconds=second)
            slot += SLOT


def parse_cron(text: str) -> Cron:
    """Six fields, five fields, or a short form such as `@daily`.

    Raises:
        InvalidSpec: names the field, what it was given and what it allows.
    """
    words = SHORT.get(text.strip().lower(), text).split()
    if text.strip().startswith("@") and text.strip().lower() not in SHORT:
        raise InvalidSpec("unknown", field="schedule", given=text.strip(), allowed=SHORT)
    if len(words) == 5:
        words = ["0", *words]
    if len(words) != 6:
        raise InvalidSpec(
            f"{text!r} has {len(words)} fields",
            field="schedule",
            given=text,
            allowed=(
                "six (second minute hour day month weekday), the usual five, or words like 'every monday at 01:00'"
            ),
        )
    sets = [_field(word, index) for index, word in enumerate(words)]
    # Sunday is 0 for the controller, which refuses the 7 that other crons take.
    words[5] = ",".join(str(n) for n in sorted(sets[5])) if "7" in words[5] else words[5]
    has_star_day = any(part[0] in "*?" for index in (3, 5) for part in words[index].split(",") if part)
    cron = Cron(" ".join(words), sets[0], sets[1], sets[2], sets[3], sets[4], sets[5], has_star_day)
    if next(cron.after(datetime(2024, 1, 1, tzinfo=UTC), UTC), None) is None:
        raise InvalidSpec(f"{text!r} never comes, as the 30th of February does not", field="schedule", given=text)
    return cron


def _field(word: str, index: int) -> frozenset[int]:
    values: set[int] = set()
    for part in word.split(","):
        values |= _range(part, word, index)
    return frozenset(values)


def _range(part: str, word: str, index: int) -> set[int]:
    name, low, high, names = FIELDS[index]
    span, slash, step_text = part.partition("/")
    top = 7 if index == 5 else high
    if span in ("*", "?"):
        first, last = low, high
    else:
        begin, dash, end = span.partition("-")
        first = _number(begin, word, index)
        last = _number(end, word, index) if dash else (high if slash else first)
    step = _number(step_text, word, -1) if slash else 1
    if not (low <= first <= last <= top) or step < 1:
        known = f" or {', '.join(names)}" if names else ""
        raise InvalidSpec(
            f"{name} {word!r}: {part!r} is outside {low} to {high}{known}; a range goes from "
            "the smaller number to the larger, a step is at least 1",
            field="schedule",
        )
    return {number % 7 if index == 5 else number for number in range(first, last + 1, step)}


def _number(text: str, word: str, index: int) -> int:
    names = FIELDS[index][3] if index >= 0 else {}
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdecimal():
        name = FIELDS[index][0] if index >= 0 else "step"
        raise InvalidSpec(
            f"{name} {word!r}: {text!r} is no number{' and no name' if names else ''}{nearest(text, names)}",
            field="schedule",
        )
    return int(text)
