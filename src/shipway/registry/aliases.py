"""Aliases: a pointer moved by compare-and-swap, and behind it an unbroken chain of moves.

A move is written first, under a name of its own, and only then does the pointer name it: a crash leaves the old alias
and a stray move that nobody reads. As each move names the one before, the history is exact without a second write
that could be lost.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from shipway.errors import CorruptArtifact, NotFound
from shipway.registry.record import Alias, Move
from shipway.storage import Store
from shipway.storage.pointers import Pointer, move_pointer, read_pointer


def pointer_key(name: str, alias: str) -> str:
    return f"models/{name}/aliases/{alias}.json"


def tombstone_key(name: str, version: int) -> str:
    return f"models/{name}/tombstones/{version}"


@dataclass(frozen=True)
class Standing:
    """An alias as it was read.

    Attributes:
        pointer: None where it was never set.
        move: The newest; None where the alias names nothing.
    """

    pointer: Pointer | None
    move: Move | None

    @property
    def sequence(self) -> int:
        """How often it was moved: an alias that was moved away and back is another one than before."""
        return self.pointer.sequence if self.pointer else 0

    @property
    def version(self) -> int | None:
        return self.move.version if self.move else None


def read_alias(store: Store, name: str, alias: str) -> Standing:
    """The alias as it is now."""
    pointer = read_pointer(store, pointer_key(name, alias))
    return Standing(pointer, _read(store, pointer.target, name, alias) if pointer and pointer.target else None)


def readable_alias(store: Store, name: str, alias: str) -> Standing:
    """As `read_alias`, for who sets the alias anew: it names nothing where its move was edited, or an earlier Shipway
    wrote it. The history then begins anew."""
    try:
        return read_alias(store, name, alias)
    except CorruptArtifact:
        return Standing(read_pointer(store, pointer_key(name, alias)), None)


def move_alias(store: Store, move: Move, *, expected: Standing, version_key: str) -> Standing:
    """Moves an alias.

    Args:
        store: The registry's store.
        move: Name, alias and version to move to; `previous`, `previous_version` and `at` are filled in.
        expected: The alias as it was read.
        version_key: Key of the version's document, which must still be there after the move.

    Returns:
        The alias as it is then, with the move as it was written.

    Raises:
        Conflict: somebody else moved it meanwhile.
        NotFound: the version is being removed.
    """
    written = move.model_copy(
        update={
            "previous": expected.pointer.target if expected.pointer and expected.move else None,
            "previous_version": expected.version,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    sequence = expected.sequence + 1
    key = f"models/{move.name}/aliases/moves/{move.alias}-{sequence:06d}-v{move.version}-{uuid.uuid4().hex[:8]}.json"
    store.put(key, written.to_json().encode(), create=True)
    pointer = move_pointer(store, pointer_key(move.name, move.alias), key, expected=expected.pointer)
    moved = Standing(pointer, written)
    # Garbage collection writes a tombstone and then reads the aliases; we wrote the alias and now read tombstones:
    # whichever comes second sees the other.
    if store.head(tombstone_key(move.name, move.version)) is not None or store.head(version_key) is None:
        take_back(store, moved)
        raise NotFound(
            f"version {move.version} of {move.name} is being removed by garbage collection",
            field="models",
            fix="choose another version, or run `shipway store gc` again if it was stopped half-way",
        )
    return moved


def take_back(store: Store, moved: Standing) -> None:
    """Undoes the newest move, as if it had never been in the history.

    The pointer stays where there was none before, naming nothing: deleted, its sequence would begin anew, and who had
    read it would not see that it was moved meanwhile.

    Raises:
        Conflict: somebody else moved it meanwhile.
    """
    assert moved.move is not None
    key = pointer_key(moved.move.name, moved.move.alias)
    move_pointer(store, key, moved.move.previous or "", expected=moved.pointer)


def unset_alias(store: Store, name: str, alias: str) -> bool:
    """Lets the alias name nothing; says whether it was set. Its moves stay, and no later one names them.

    Raises:
        Conflict: somebody else moved it meanwhile.
    """
    pointer = read_pointer(store, pointer_key(name, alias))
    if pointer is None or not pointer.target:
        return False
    move_pointer(store, pointer_key(name, alias), "", expected=pointer)
    return True


def history(store: Store, name: str, alias: Alias) -> Iterator[Move]:
    """All moves, the newest first."""
    move = read_alias(store, name, alias).move
    while move is not None:
        yield move
        move = _read(store, move.previous, name, alias) if move.previous else None


def previous_version(moves: list[Move]) -> int | None:
    """The version that a rollback returns to.

    Args:
        moves: An alias's history, the newest first.

    Returns:
        The version below the current one on the stack of those set; a rollback takes one off, so that two in a row
        go two versions back. None when nothing is below.
    """
    stack: list[int] = []
    for move in reversed(moves):
        if move.how == "rollback":
            while stack and stack[-1] != move.version:
                stack.pop()
        if not stack or stack[-1] != move.version:
            stack.append(move.version)
    return stack[-2] if len(stack) > 1 else None


def _read(store: Store, key: str, name: str, alias: str) -> Move:
    try:
        document = store.get(key)
    except NotFound as error:
        raise NotFound(
            "the alias names a move that is gone", field=key, fix="set it again: shipway models promote"
        ) from error
    try:
        move = Move.from_json(document, where=key)
        if (move.name, move.alias) != (name, alias):
            raise CorruptArtifact(f"{key}: it moves {move.alias} of {move.name}, and {alias} of {name} points at it")
        return move
    except CorruptArtifact as error:
        raise CorruptArtifact(
            f"{error}. Set the alias again (shipway models promote NAME VERSION), or leave the name without a "
            "champion: shipway models unset NAME"
        ) from error
