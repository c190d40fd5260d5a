"""A manifest read field by field: whatever nobody read or waved through is an error that names its path."""

from __future__ import annotations

from typing import Any, TypeVar

from shipway.errors import InvalidSpec

T = TypeVar("T")

_NAMES = {dict: "a mapping", list: "a list", str: "a string", int: "a whole number", bool: "true or false"}


class Fields:
    """One mapping of a manifest.

    Args:
        value: The mapping.
        path: Where it stands, `spec.runPolicy`.
        notes: Collects the paths of fields that are understood but not applied on this machine.
    """

    def __init__(self, value: Any, path: str, notes: list[str]) -> None:
        if not isinstance(value, dict):
            raise InvalidSpec(field=path or "manifest", given=value, allowed="a mapping")
        self.value: dict[str, Any] = value
        self.path = path
        self.notes = notes
        self._known: set[str] = set()
        self._read: set[str] = set()

    def at(self, key: str) -> str:
        """The path of one field."""
        return f"{self.path}.{key}" if self.path else key

    def take(self, key: str, kind: type[T], default: T) -> T:
        """The field's value, or `default` where it is absent or null.

        Raises:
            InvalidSpec: it has another type.
        """
        self._known.add(key)
        self._read.add(key)
        value = self.value.get(key)
        if value is None:
            return default
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)  # KFP and YAML editors turn whole numbers into floats
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InvalidSpec(field=self.at(key), given=value, allowed=_NAMES[kind])
        return value

    def require(self, key: str, kind: type[T]) -> T:
        """Like `take`, for a field that must be there."""
        if self.value.get(key) is None:
            raise InvalidSpec("missing", field=self.at(key), allowed=_NAMES[kind])
        return self.take(key, kind, kind())

    def choose(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        """A string that must be one of `allowed`."""
        value = self.take(key, str, default)
        if value not in allowed:
            raise InvalidSpec(field=self.at(key), given=value, allowed=allowed)
        return value

    def natural(self, key: str, default: int | None, least: int = 0) -> int | None:
        """A whole number of at least `least`."""
        if self.value.get(key) is None:
            self.take(key, int, 0)
            return default
        value = self.take(key, int, 0)
        if value < least:
            raise InvalidSpec(field=self.at(key), given=value, allowed=f"a whole number of at least {least}")
        return value

    def child(self, key: str) -> Fields:
        """A nested mapping, empty where absent."""
        return Fields(self.take(key, dict, {}), self.at(key), self.notes)

    def children(self, key: str) -> list[Fields]:
        """A list of mappings, empty where absent."""
        return [Fields(v, f"{self.at(key)}[{i}]", self.notes) for i, v in enumerate(self.take(key, list, []))]

    def skip(self, *keys: str) -> None:
        """Fields that this machine understands and does not apply; those present go to the notes."""
        self._known.update(keys)
        for key in keys:
            if key in self.value:
                self._read.add(key)
                if self.value[key] not in (None, {}, [], ""):
                    self.notes.append(self.at(key))

    def refuse(self, key: str, why: str) -> None:
        """A field that must not be there, since playing without it would be another job."""
        self._known.add(key)
        self._read.add(key)
        if self.value.get(key) not in (None, {}, [], "", False):
            raise InvalidSpec(f"cannot be honoured by the process executor: {why}", field=self.at(key))

    def done(self) -> None:
        """Ends the reading.

        Raises:
            InvalidSpec: names the first field that nobody read.
        """
        for key in self.value:
            if key not in self._read:
                raise InvalidSpec(
                    "unknown field, or one that the process executor cannot honour",
                    field=self.at(key),
                    given=key,
                    allowed=sorted(self._known),
                )
