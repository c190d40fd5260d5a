"""Aliases: a pointer moved by compare-and-swap, and behind it an unbroken chain of moves.

A move is written first, under a name of its own, and only then does the pointer name it: a crash leaves the old alias
and a stray move that nobody reads. As each move names the one before, the history is exact without a second write
that could be lost.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from shipway.errors import CorruptArtifact, NotFound
from shipway.registry.record import Alias, Move
from shipway.storage import Store
from shipway.storage.publish import Pointer, move_pointer, read_pointer


def pointer_key(name: str, alias: str) -> str:
    return f"models/{name}/aliases/{alias}.json"


def tombstone_key(name: str, version: int) -> str:
    return f"models/{name}/tombstones/{version}"


def read_alias(store: Store, name: str, alias: str) -> tuple[Pointer, Move] | None:
    """The alias's pointer and newest move; None where it was never set."""
    pointer = read_pointer(store, pointer_key(name, alias))
    if pointer is None:
        return None
    return pointer, _read(store, pointer.target)


def move_alias(store: Store, move: Move, *, expected: Pointer | None, version_key: str) -> Move:
    """Moves an alias.

    Args:
        store: The registry's store.
        move: Name, alias and version to move to; `previous`, `previous_version` and `at` are filled in.
        expected: The pointer as it was read; None where the alias must not exist yet.
        version_key: Key of the version's document, which must still be there after the move.

    Returns:
        The move as it was written.

    Raises:
        Conflict: somebody else moved it meanwhile.
        NotFound: the version is being removed.
    """
    before = _readable(store, expected.target) if expected else None
    written = move.model_copy(
        update={
            "previous": expected.target if expected and before else None,
            "previous_version": before.version if before else None,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    sequence = (expected.sequence if expected else 0) + 1
    key = f"models/{move.name}/aliases/moves/{move.alias}-{sequence:06d}-v{move.version}-{uuid.uuid4().hex[:8]}.json"
    store.put(key, written.to_json().encode(), create=True)
    pointer = move_pointer(store, pointer_key(move.name, move.alias), key, expected=expected)
    # Garbage collection writes a tombstone and then reads the aliases; we wrote the alias and now read tombstones:
    # whichever comes second sees the other.
    if store.head(tombstone_key(move.name, move.version)) is not None or store.head(version_key) is None:
        if expected is not None:
            move_pointer(store, pointer_key(move.name, move.alias), expected.target, expected=pointer)
        else:
            store.delete(pointer_key(move.name, move.alias))
        raise NotFound(
            f"models: version {move.version} of {move.name} is being removed by garbage collection; choose another "
            "version, or run `shipway store gc` again if it was stopped half-way"
        )
    return written


def unset_alias(store: Store, name: str, alias: str) -> bool:
    """Takes the alias away; says whether it was set. Its moves stay, and no later one names them."""
    is_set = store.head(pointer_key(name, alias)) is not None
    store.delete(pointer_key(name, alias))
    return is_set


def readable_alias(store: Store, name: str, alias: str) -> tuple[Pointer | None, Move | None]:
    """As `read_alias`, for who sets the alias anew: the move is None where it cannot be read."""
    pointer = read_pointer(store, pointer_key(name, alias))
    return pointer, _readable(store, pointer.target) if pointer else None


def _readable(store: Store, key: str) -> Move | None:
    """The move; None where it was edited or an earlier Shipway wrote it: the history then begins anew."""
    try:
        return _read(store, key)
    except CorruptArtifact:
        return None


def history(store: Store, name: str, alias: Alias) -> Iterator[Move]:
    """All moves, the newest first."""
    found = read_alias(store, name, alias)
    move = found[1] if found else None
    while move is not None:
        yield move
        move = _read(store, move.previous) if move.previous else None


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


def _read(store: Store, key: str) -> Move:
    try:
        document = store.get(key)
    except NotFound as error:
        raise NotFound(f"{key}: the alias names a move that is gone; set it again: shipway models promote") from error
    try:
        return Move.from_json(document, where=key)
    except CorruptArtifact as error:
        raise CorruptArtifact(
            f"{error}. Set the alias again (shipway models promote NAME VERSION), or leave the name without a "
            "champion: shipway models unset NAME"
        ) from error
