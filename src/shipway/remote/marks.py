"""What a recurring run says of itself in its description, the one field of it that is ours to write.

Kubeflow's column has no size of its own and so gorm's, 255 characters: MySQL refuses more, and the answer is a 500.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shipway.errors import InvalidSpec
from shipway.person import who_types

if TYPE_CHECKING:
    from shipway.remote.recurring import PlannedSchedule

SAID = "Schedule of Shipway "
ROOM = 255
# One letter each, since names and moments need the room; descriptions of older versions have the whole words.
KEYS = {
    "n": "name", "w": "when", "z": "zone", "g": "generation", "p": "part", "o": "parts", "x": "experiment",
    "m": "mark", "s": "start", "e": "end", "r": "replaces", "b": "by",
}  # fmt: skip
ID = 8  # of an id's digits, to name what is replaced


def write_mark(made: PlannedSchedule, generation: int, part: int, mark: str, replaces: str = "") -> str:
    """The description of a recurring run: readable, and all that a later change needs.

    Args:
        made: The schedule.
        generation: Counted up by each change.
        part: From 1, of as many as the plan has.
        mark: Nobody else's.
        replaces: Id of a recurring run made elsewhere that this one follows.

    Raises:
        InvalidSpec: it does not fit.
    """
    is_plain = all(stretch.cron == made.when.said for stretch in made.parts)  # then it stands in the trigger
    count, spec = len(made.parts), made.spec
    every: dict[str, Any] = {
        "n": made.name, "w": None if is_plain else made.when.said, "z": made.zone, "g": generation,
        "p": part if count > 1 else None, "o": count if count > 1 else None, "x": spec.experiment, "m": mark,
        "s": spec.start.isoformat() if spec.start else None, "e": spec.end.isoformat() if spec.end else None,
        "r": replaces[:ID] or None,
    }  # fmt: skip
    said = {key: value for key, value in every.items() if value is not None}
    text = _text(said)
    if len(text) > ROOM:
        raise InvalidSpec(
            f"{made.name!r} with its times, zone and experiment takes {len(text)} characters of "
            f"description, and Kubeflow keeps {ROOM}",
            field="schedule",
            given=made.name,
            fix=f"choose a --name that is shorter by {len(text) - ROOM}",
        )
    who = "".join(c for c in who_types() if c.isprintable() and c not in '"\\')
    room = ROOM - len(_text({**said, "b": ""}))
    return _text({**said, "b": who[:room]}) if room > 0 else text


def _text(said: dict[str, Any]) -> str:
    return SAID + json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def read_mark(job: Any) -> dict[str, Any]:
    """What a recurring run of ours says, by whole words; empty for others', and for copies of ours that others made."""
    description = str(job.description or "")
    if not description.startswith(SAID):
        return {}
    try:
        document = json.loads(description.removeprefix(SAID))
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    said: dict[str, Any] = {KEYS.get(str(key), str(key)): value for key, value in document.items()}
    numbers = (said.setdefault("generation", 0), said.setdefault("part", 1), said.setdefault("parts", 1))
    if not said.get("name") or not all(isinstance(number, int) for number in numbers):
        return {}
    # Whoever clones it in the UI gets the description with it, under another name.
    return said if job.display_name == shown_name(said["name"], said["part"], said["parts"]) else {}


def shown_name(name: str, part: int, count: int) -> str:
    """What the UI lists a part as."""
    return name if count == 1 else f"{name} ({part} of {count})"
