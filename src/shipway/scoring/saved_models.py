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
MAX_REPEATED = 256 << 20  # bytes in memory that constants may take beyond those they hold (one value, repeated)
_WIDTHS = {1: 4, 3: 4, 4: 1, 5: 2, 6: 1, 7: 128, 10: 1, 14: 2, 18: 16, 19: 2}  # of an element by DataType: 7 a string
_SAVER_ATTRIBUTES = {"_construction_context", "_input_shapes"}  # what a saver's function is written with
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
_CONSTANT = b"tf.TrackableConstant"  # the registered class of a constant that a function holds: made of its node alone
_STRUCTURE = (1, 3, 15)  # children, slot variables, dependencies
_NAMES_A_FUNCTION = {6: 1, 8: 1, 12: 2}  # function, bare_concrete_function, captured_tensor -> the field of its name


@dataclass
class _Seen:
    """What was read so far."""

    operations: frozenset[str]
    nodes: int = 0
    repeated: int = 0  # bytes that constants take beyond those they hold
    functions: dict[str, set[str]] = field(default_factory=dict)  # name -> its attributes
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
            _check_objects(value, seen)
    if not has_objects:  # as TensorFlow 1 wrote them: their initialisers run in a session of their own
        raise _Refused("it holds no object graph; expected what tf.saved_model.save of TensorFlow 2 writes")
    for name in sorted(seen.savers):
        if odd := seen.functions[name] - _SAVER_ATTRIBUTES:  # api_implements: a runtime may put it in another's place
            raise _Refused(f"function {name!r} reads or writes files and has the attribute {min(odd)!r}")
        others = seen.callers.get(name, set()) - {f"node {node}" for node in saver}
        if others:
            raise _Refused(
                f"function {name!r} reads or writes files, and {sorted(others)[0]} calls it; only the saver's nodes may"
            )


def _check_objects(graph: memoryview, seen: _Seen) -> None:
    """The objects that opening makes, what some of them would run, and the functions that they are or hold."""
    constants: set[str] = set()
    for function in messages(graph, 2):
        _note(seen, texts(function, 1), "an object")
    for position, node in enumerate(messages(graph, 1)):
        is_constant = any(number == 9 for number, _, _ in fields(node))
        for number, _, value in fields(node):
            if number == 13 and is_constant and not isinstance(value, int) and bytes(value) == _CONSTANT:
                continue
            if number in _OTHER_KINDS and (number in (5, 10) or (not isinstance(value, int) and len(value))):
                raise _Refused(f"object {position} is {_OTHER_KINDS[number]}; no recipe of ours saves one")
            if number == 11:
                _check_saveable(value if not isinstance(value, int) else memoryview(b""), position)
            elif number not in (*_KINDS, *_STRUCTURE, *_OTHER_KINDS):
                raise _Refused(f"object {position} has the unknown field {number}")
            elif number in _NAMES_A_FUNCTION and not isinstance(value, int):
                _note(seen, texts(value, _NAMES_A_FUNCTION[number]), f"object {position}")
            elif number == 9 and not isinstance(value, int):
                for name in texts(value, 1):  # each object would hold a copy of its own
                    if name in constants:
                        raise _Refused(f"object {position} is the constant {name!r}, and so is another")
                    constants.add(name)


def _note(seen: _Seen, called: list[str], caller: str) -> None:
    for name in called:
        seen.callers.setdefault(name, set()).add(caller)


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
            if name in seen.functions or name in seen.operations:  # a runtime looks among functions first
                raise _Refused(f"function {name!r} has the name of an operation, or of another function")
            attributes = [*messages(function, 5)]
            seen.functions[name] = {key for entry in attributes for key in texts(entry, 1)}
            for node in messages(function, 3):
                _check_node(node, f"function {name!r}", name, seen)
            for attribute in attributes:
                _check_attribute(attribute, f"function {name!r}", seen)
        for gradient in messages(library, 2):
            _note(seen, texts(gradient, 2), "a gradient")
        for gradient in messages(library, 3):
            _note(seen, texts(gradient, 1), "a gradient")


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
    values = [*messages(entry, 2)]
    if len(values) > 1:  # a parser would make one of them, and of two shapes a larger one
        raise Malformed("an attribute holds several values")
    for value in values:
        _note(seen, [*_called(value, seen, MAX_DEPTH)], caller)


def _called(value: memoryview, seen: _Seen, depth: int) -> Iterator[str]:
    """Names of functions within an AttrValue."""
    if depth == 0:
        raise Malformed(f"attributes nested more than {MAX_DEPTH} deep")
    parts = [*fields(value)]
    if len(parts) > 1:
        raise Malformed("an attribute holds several values")
    for number, _, part in parts:
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
    held, width, shapes = 0, 8, []
    for number, _, value in fields(tensor):
        if number == 1 and isinstance(value, int):
            width = _WIDTHS.get(value, 8)
        elif number == 2 and not isinstance(value, int):
            shapes.append([size for dimension in messages(value, 2) for size in integers(dimension, 1)])
        elif number in (14, 15):
            raise _Refused("a constant holds a resource or a variant in place of numbers")
        else:
            held += 1 if isinstance(value, int) else len(value)
    if len(shapes) > 1:
        raise Malformed("a constant has several shapes")
    sizes = shapes[0] if shapes else []
    if len(sizes) > MAX_RANK or any(size < 0 for size in sizes):
        raise _Refused("a constant has a dimension of unknown size, or too many")
    seen.repeated += max(math.prod(sizes) * width - held, 0)
    if seen.repeated > MAX_REPEATED:
        raise _Refused(f"its constants take {seen.repeated} bytes more than they hold, allowed are {MAX_REPEATED}")
