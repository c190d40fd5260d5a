"""What a SavedModel holds, checked before TensorFlow opens it: opening one runs its initialisers.

Read are the fields of tensorflow/core/protobuf/{saved_model,meta_graph,saved_object_graph}.proto and
tensorflow/core/framework/{graph,function,node_def,attr_value,tensor}.proto; the numbers below are theirs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shipway.errors import CorruptArtifact
from shipway.scoring.operations import SAVER, SETTING, TENSORFLOW, allowed
from shipway.scoring.wire import Malformed, fields, integers, mapped, messages, text, texts

MAX_BYTES = 256 << 20  # of saved_model.pb, which holds no weights: our largest has 6 MB
MAX_NODES = 500_000
MAX_ELEMENTS = 1 << 26  # that constants may say beyond the bytes they hold (one value, repeated)
MAX_RANK = 254  # TensorFlow's own
MAX_DEPTH = 16  # of lists and functions within an attribute
_FILES = re.compile(r"saved_model\.pb|fingerprint\.pb|variables/variables\.(index|data-\d{5}-of-\d{5})")
# Kinds of objects that compute nothing when they are opened: user_object, function, variable, bare_concrete_function,
# constant, captured_tensor.
_KINDS = (4, 6, 7, 8, 9, 12)
_OTHER_KINDS = {
    5: "an asset, which is a file",
    10: "a resource, which runs a function of its own when it is opened",
    13: "an object of a registered class",
    14: "an object of a registered class",
    16: "a registered saver",
}
_STRUCTURE = (1, 3, 15)  # children, slot variables, dependencies


@dataclass
class _Seen:
    """What was read so far."""

    operations: frozenset[str]
    nodes: int = 0
    repeated: int = 0  # elements of constants beyond their bytes
    savers: set[str] = field(default_factory=set)  # functions that hold an operation of SAVER
    callers: dict[str, set[str]] = field(default_factory=dict)  # function -> who names it


class _Refused(Exception):
    """Why the model is not opened."""


def check_saved_model(folder: Path) -> None:
    """Refuses a SavedModel that could do more than compute.

    Raises:
        CorruptArtifact: names the operation, the function that holds it and the file, and what to set where it is
            wanted; or says what is malformed, or larger than anything that we write.
    """
    path = folder / "saved_model.pb"
    try:
        _check_files(folder)
        size = path.stat().st_size if path.is_file() else 0
        if not 0 < size <= MAX_BYTES:
            raise _Refused(f"it has {size} bytes, expected 1 to {MAX_BYTES}")
        graphs = [*messages(mapped(path), 2)]
        if len(graphs) != 1:
            raise _Refused(f"it holds {len(graphs)} graphs, expected one")
        _check_meta_graph(graphs[0])
    except _Refused as error:
        raise CorruptArtifact(f"{path}: {error}; the model was not opened") from None
    except Malformed as error:
        raise CorruptArtifact(f"{path}: not a SavedModel ({error}); the model was not opened") from error


def _check_files(folder: Path) -> None:
    """TensorFlow looks for files of other names first (saved_model.cpb), and follows links."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_known = name in ("variables", "assets") if path.is_dir() else _FILES.fullmatch(name)
        if path.is_symlink() or not is_known:
            raise _Refused(f"beside it lies {name!r}, which no export of ours holds")


def _check_meta_graph(meta: memoryview) -> None:
    seen = _Seen(allowed(TENSORFLOW))
    has_objects = False
    saver: set[str] = set()
    for number, _, value in fields(meta):
        if isinstance(value, int):
            raise Malformed(f"field {number} of the graph is a number")
        if number == 2:
            _check_graph(value, seen)
        elif number == 3:
            saver |= {name.partition(":")[0] for key in (2, 3) for name in texts(value, key)}
        elif number == 6:
            raise _Refused("it names asset files, which no recipe of ours writes")
        elif number == 7:
            has_objects = True
            _check_objects(value)
    if not has_objects:  # as TensorFlow 1 wrote them: their initialisers run in a session of their own
        raise _Refused("it holds no object graph; expected what tf.saved_model.save of TensorFlow 2 writes")
    for name in sorted(seen.savers):
        others = seen.callers.get(name, set()) - {f"node {node}" for node in saver}
        if others:
            raise _Refused(
                f"function {name!r} reads or writes files, and {sorted(others)[0]} calls it; only the saver's nodes may"
            )


def _check_objects(graph: memoryview) -> None:
    """The objects that opening makes, and what some of them would run."""
    for position, node in enumerate(messages(graph, 1)):
        for number, _, value in fields(node):
            if number in _OTHER_KINDS and (number in (5, 10) or (not isinstance(value, int) and len(value))):
                raise _Refused(f"object {position} is {_OTHER_KINDS[number]}; no recipe of ours saves one")
            if number == 11:
                _check_saveable(value if not isinstance(value, int) else memoryview(b""), position)
            elif number not in (*_KINDS, *_STRUCTURE, *_OTHER_KINDS):
                raise _Refused(f"object {position} has the unknown field {number}")


def _check_saveable(entry: memoryview, position: int) -> None:
    """An entry of saveable_objects: functions that are called when the variables are read."""
    for value in messages(entry, 2):
        if any(isinstance(function, int) and function for _, _, function in fields(value)):
            raise _Refused(f"object {position} reads its variables by a function of its own; no recipe of ours does")


def _check_graph(graph: memoryview, seen: _Seen) -> None:
    """The main graph's nodes, and every function's of its library."""
    for node in messages(graph, 1):
        _check_node(node, "the main graph", "", seen)
    for library in messages(graph, 2):
        for function in messages(library, 1):
            names = [name for signature in messages(function, 1) for name in texts(signature, 1)]
            if len(names) != 1:  # a parser would take the last
                raise Malformed(f"a function has {len(names)} names")
            name = names[0]
            for node in messages(function, 3):
                _check_node(node, f"function {name!r}", name, seen)
            for attribute in messages(function, 5):
                _check_attribute(attribute, f"function {name!r}", seen)
        for gradient in messages(library, 2):
            for called in texts(gradient, 2):
                seen.callers.setdefault(called, set()).add("a gradient")
        for gradient in messages(library, 3):
            for called in texts(gradient, 1):
                seen.callers.setdefault(called, set()).add("a gradient")


def _check_node(node: memoryview, where: str, function: str, seen: _Seen) -> None:
    seen.nodes += 1
    if seen.nodes > MAX_NODES:
        raise _Refused(f"it has more than {MAX_NODES} operations")
    name, operations, attributes = "", [], []
    for number, _, value in fields(node):
        if number == 1:
            name = text(value)
        elif number == 2:
            operations.append(text(value))
        elif number == 5:
            attributes.append(value)
    for operation in operations or [""]:
        if operation in SAVER and function:
            seen.savers.add(function)
        elif operation not in seen.operations:
            raise _Refused(
                f"operation {operation!r} (node {name!r} in {where}) is not among those that a served model may hold. "
                f"If you know what it does and want it: {SETTING}={operation}"
            )
    caller = where if function else f"node {name}"
    for attribute in attributes:
        if isinstance(attribute, int):
            raise Malformed("an attribute is a number")
        _check_attribute(attribute, caller, seen)


def _check_attribute(entry: memoryview, caller: str, seen: _Seen) -> None:
    """A map entry: the functions that its value names, and the size of its tensors."""
    for value in messages(entry, 2):
        for called in _called(value, seen, MAX_DEPTH):
            seen.callers.setdefault(called, set()).add(caller)


def _called(value: memoryview, seen: _Seen, depth: int) -> Iterator[str]:
    """Names of functions within an AttrValue."""
    if depth == 0:
        raise Malformed(f"attributes nested more than {MAX_DEPTH} deep")
    for number, _, part in fields(value):
        if isinstance(part, int):
            continue
        if number == 8:
            _check_tensor(part, seen)
        elif number == 10:
            yield from _function_names(part, seen, depth)
        elif number == 1:  # a list: its tensors stand in 8, its functions in 9
            for inner, _, item in fields(part):
                if inner == 8 and not isinstance(item, int):
                    _check_tensor(item, seen)
                elif inner == 9 and not isinstance(item, int):
                    yield from _function_names(item, seen, depth)


def _function_names(function: memoryview, seen: _Seen, depth: int) -> Iterator[str]:
    yield from texts(function, 1)
    for entry in messages(function, 2):
        for value in messages(entry, 2):
            yield from _called(value, seen, depth - 1)


def _check_tensor(tensor: memoryview, seen: _Seen) -> None:
    """A constant's size is what its shape says: a few bytes may say gigabytes."""
    elements, held = 1, 0
    for number, _, value in fields(tensor):
        if number == 2 and not isinstance(value, int):
            sizes = [size for dimension in messages(value, 2) for size in integers(dimension, 1)]
            if len(sizes) > MAX_RANK or any(size < 0 for size in sizes):
                raise _Refused("a constant has a dimension of unknown size, or too many")
            elements = math.prod(sizes)
        elif number in (14, 15):
            raise _Refused("a constant holds a resource or a variant in place of numbers")
        else:
            held += 1 if isinstance(value, int) else len(value)
    seen.repeated += max(elements - held, 0)
    if seen.repeated > MAX_ELEMENTS:
        raise _Refused(f"its constants say {seen.repeated} elements more than they hold, allowed are {MAX_ELEMENTS}")
