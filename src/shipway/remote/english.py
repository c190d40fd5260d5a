"""Schedules in words: `every monday at 01:00`, `every 15 minutes`, `every weekday at 06:30`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from shipway.errors import InvalidSpec, nearest
from shipway.remote.cron import WEEKDAYS, Cron, parse_cron

LEAST_S = 60  # closer together, slots were seen to be lost
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_UNITS = {"minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_TIME = re.compile(r"(\d{1,2})(?::(\d{2}))?\s*(am|pm)?")
EXAMPLES = "'every monday at 01:00', 'every 15 minutes', 'every weekday at 06:30', 'every month on the 1st at 02:00'"


@dataclass(frozen=True)
class When:
    """When a schedule fires: by cron, or every so many seconds.

    Attributes:
        said: As the person said it.
        interval_s: Seconds between two runs; None for a cron schedule.
    """

    said: str
    cron: Cron | None = None
    interval_s: int | None = None

    @property
    def text(self) -> str:
        """What Kubeflow is told."""
        return self.cron.text if self.cron else f"every {self.interval_s} s"


def parse_when(text: str) -> When:
    """A schedule in words, as cron, or as one of cron's short forms.

    Raises:
        InvalidSpec: it cannot be understood; says what can.
    """
    said = " ".join(text.split())
    words = said.lower().replace(",", " and ")
    if re.match(r"(every|on|each|hourly|daily|weekly|monthly)\b", words):
        return _in_words(said, re.sub(r"\s+", " ", words.replace("each", "every")))
    return When(said, parse_cron(said))


def _in_words(said: str, words: str) -> When:
    words = {"hourly": "every hour", "daily": "every day", "weekly": "every week", "monthly": "every month"}.get(
        words.split()[0], words.split()[0]
    ) + words[len(words.split()[0]) :]
    rest, _, clock = words.partition(" at ")
    rest = rest.removeprefix("every ").removeprefix("on ")
    match = re.fullmatch(r"(\d+|other)? ?(second|minute|hour|day|week|month)s?( on (the )?(.+))?", rest)
    if match and match[5] is None and match[2] != "month":
        return _interval(said, 2 if match[1] == "other" else int(match[1] or 1), match[2], clock)
    minute, hour = _clock(said, clock)
    if match and match[2] == "month" and match[1] is None:
        days = [_day_of_month(said, day) for day in re.split(r" and (?:the )?", match[5] or "1st")]
        return When(said, parse_cron(f"0 {minute} {hour} {','.join(map(str, sorted(days)))} * *"))
    if match and match[2] == "week" and match[5]:
        rest = match[5]
    return When(said, parse_cron(f"0 {minute} {hour} * * {_weekdays(said, rest)}"))


def _interval(said: str, count: int, unit: str, clock: str) -> When:
    if unit == "second" or count < 1:
        raise InvalidSpec(
            f"{said!r}: Kubeflow loses runs closer together than a minute; say at least 1 minute",
            field="schedule",
            given=said,
        )
    if clock and (count > 1 or unit in ("minute", "hour")):
        raise InvalidSpec(
            (f"{said!r}: a time of day goes with every day, weekdays or a day of the month; {EXAMPLES}"),
            field="schedule",
            given=said,
        )
    if unit in ("day", "week") and count == 1:
        minute, hour = _clock(said, clock)
        return When(said, parse_cron(f"0 {minute} {hour} * * {'*' if unit == 'day' else '1'}"))
    if unit == "minute" and 60 % count == 0:
        return When(said, parse_cron(f"0 {'*' if count == 1 else f'*/{count}' if count < 60 else '0'} * * * *"))
    if unit == "hour" and 24 % count == 0:
        return When(said, parse_cron(f"0 0 {'*' if count == 1 else f'*/{count}' if count < 24 else '0'} * * *"))
    # What does not divide the hour or the day has no cron: counted from the start.
    return When(said, interval_s=count * _UNITS[unit])


def _clock(said: str, clock: str) -> tuple[int, int]:
    """Minute and hour; midnight where no time is said."""
    clock = {"": "0:00", "midnight": "0:00", "noon": "12:00"}.get(clock.strip(), clock.strip())
    match = _TIME.fullmatch(clock)
    hour, minute = (int(match[1]), int(match[2] or 0)) if match else (99, 0)
    if match and match[3]:
        hour = hour % 12 + (12 if match[3] == "pm" else 0) if 1 <= hour <= 12 else 99
    if hour > 23 or minute > 59 or (match and match[2] is None and not match[3]):
        raise InvalidSpec(
            f"{said!r}: {clock!r} is no time of day; say 01:00, 18:30, 6:30 pm, noon or midnight", field="schedule"
        )
    return minute, hour


def _weekdays(said: str, rest: str) -> str:
    groups = {"weekday": "1,2,3,4,5", "weekend": "0,6", "day": "*"}
    if rest.removesuffix("s") in groups:
        return groups[rest.removesuffix("s")]
    numbers = []
    for word in rest.split(" and "):
        word = word.strip().removeprefix("and ").removeprefix("every ").strip()
        number = WEEKDAYS.get(word[:3]) if any(word in (day, f"{day}s", day[:3]) for day in _DAYS) else None
        if number is None:
            raise InvalidSpec(
                f"{said!r}: {word!r} is not understood; say {EXAMPLES}, or cron{nearest(word, _DAYS)}", field="schedule"
            )
        numbers.append(number)
    return ",".join(str(number) for number in sorted(set(numbers)))


def _day_of_month(said: str, word: str) -> int:
    match = re.fullmatch(r"(\d{1,2})(st|nd|rd|th)?", word.strip())
    if not match or not 1 <= int(match[1]) <= 28:
        raise InvalidSpec(
            (f"{said!r}: {word!r} is no day that every month has; say 1st to 28th, or use cron for others"),
            field="schedule",
        )
    return int(match[1])


def every(interval_s: int, start: datetime, count: int) -> list[datetime]:
    """The next moments of an interval, the first one interval behind its start."""
    return [start + timedelta(seconds=interval_s * number) for number in range(1, count + 1)]
