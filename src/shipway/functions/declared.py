"""What a function says of itself, read from its source without importing it: parameters, defaults, metrics."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from shipway.errors import InvalidSpec

CONTEXT = "context"  # the parameter by which a training is given its folder and its part in the job
AUTO = "auto"
SCORE = "score"  # what a bare number is called, where nothing says its name
_LOWER = re.compile(r"loss|err|mae|mse|rmse|nll|perplexity|seconds|latency|_ms$|_s$")
_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


@dataclass(frozen=True)
class Parameter:
    """A parameter of the function.

    Attributes:
        default: Its default, where that is a plain value.
        kind: Its annotation as written; empty where there is none.
    """

    name: str
    is_required: bool
    default: Any = None
    kind: str = ""


@dataclass(frozen=True)
class Declared:
    """A function as its source declares it.

    Attributes:
        where: File or cell and line.
        takes_any: It has `**keywords`.
        metrics: Names that it returns or reports, as far as its source shows them, those returned first.
    """

    name: str
    where: str
    parameters: dict[str, Parameter]
    takes_any: bool
    metrics: tuple[str, ...]

    @property
    def objective(self) -> str:
        """`maximize accuracy`: what a sweep goes by that names nothing.

        Raises:
            InvalidSpec: it has several metrics.
        """
        metric, direction = objective_of(self, AUTO, AUTO)
        return f"{direction} {metric}"

    def check_names(self, given: Mapping[str, Any], what: str) -> None:
        """Refuses names that the function does not take, and one that it needs and was not given.

        Args:
            given: Parameter -> value, or values.
            what: Where they were given, for messages.

        Raises:
            InvalidSpec: names the parameter and what there is.
        """
        names = [name for name in self.parameters if name != CONTEXT]
        for name in given:
            if name == CONTEXT or (name not in names and not self.takes_any):
                raise InvalidSpec(
                    f"{self.name} ({self.where}) takes no", field=what, given=name, allowed=names or ("none",)
                )
        for name in names:
            if self.parameters[name].is_required and name not in given:
                raise InvalidSpec(
                    f"{self.name} ({self.where}) needs {name!r}, which has no default",
                    field=what,
                    given=name,
                    fix="give it here, or a default in the function",
                )

    def check_needs_no_context(self) -> None:
        """Refuses a function that only a training can call.

        Raises:
            InvalidSpec: a trial has no context to give it.
        """
        if CONTEXT in self.parameters and self.parameters[CONTEXT].is_required:
            raise InvalidSpec(
                f"{self.name} ({self.where}) needs {CONTEXT!r}, which trainings are given and trials are not",
                field="function",
                given=self.name,
                fix=f"give it a default, {CONTEXT}=None, or call shipway.train",
            )

    def check_kind(self, name: str, value: Any, what: str) -> None:
        """Refuses a value that is none of what the parameter's annotation says.

        Raises:
            InvalidSpec: names both.
        """
        kind = self.parameters[name].kind if name in self.parameters else ""
        allowed = _KINDS.get(kind)
        fits = allowed is None or (isinstance(value, allowed) and (kind == "bool" or not isinstance(value, bool)))
        if not fits:
            raise InvalidSpec(
                f"{value!r} is no {kind}, which {self.name} ({self.where}) says of {name!r}",
                field=what,
                fix=f"give {kind} values, or change the annotation",
            )


def restored(params: Mapping[str, Any], function: Declared | None = None) -> dict[str, Any]:
    """Whole numbers as Python has them: Kubeflow turns every number of a dict into a float.

    A parameter that the function says is a `float`, or whose default is one, keeps it.
    """
    known = function.parameters if function is not None else {}
    floats = {name for name, each in known.items() if each.kind == "float" or isinstance(each.default, float)}
    return {name: value if name in floats else _whole(value) for name, value in params.items()}


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def declared(text: str, name: str, where: str) -> Declared | None:
    """The function of that name in a module's source; None where it is defined elsewhere.

    Args:
        text: The module's source.
        name: The function.
        where: The module's file, or file and line of the function.

    Raises:
        InvalidSpec: the source does not parse, or a parameter can only be given by position.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise InvalidSpec(f"{error.msg}: {(error.text or '').strip()}", field=f"{where}:{error.lineno}") from None
    definition = next((each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name), None)
    if definition is None:
        return None
    place = where if re.search(r":\d+$", where) else f"{where}:{definition.lineno}"
    if definition.args.posonlyargs:
        raise InvalidSpec(
            (f"{name}: parameter {definition.args.posonlyargs[0].arg!r} stands before '/' and cannot be given by name"),
            field=place,
            given=definition.args.posonlyargs[0].arg,
            fix="take the '/' out",
        )
    parameters = _parameters(definition.args)
    return Declared(name, place, parameters, definition.args.kwarg is not None, _metrics(definition, parameters))


def is_lower_better(metric: str) -> bool:
    """Whether less of a metric of that name is better, as far as a name tells."""
    return _LOWER.search(metric) is not None


def objective_of(function: Declared | None, metric: str, direction: str) -> tuple[str, str]:
    """(metric, direction) that a sweep goes by.

    Args:
        function: What its source says; None where that is not known.
        metric: As a person named it, or `auto`.
        direction: `maximize`, `minimize` or `auto`.

    Raises:
        InvalidSpec: the function has several metrics, and nothing says which counts.
    """
    known = function.metrics if function is not None else ()
    if metric == AUTO and function is not None and len(known) > 1:
        example = f"{'minimize' if is_lower_better(known[0]) else 'maximize'} {known[0]}"
        raise InvalidSpec(
            (f"{function.name} ({function.where}) gives {', '.join(known)}; say which counts: objective={example!r}"),
            field="objective",
            given=example,
        )
    if metric == AUTO:
        metric = known[0] if known else SCORE
    if direction == AUTO:
        direction = "minimize" if is_lower_better(metric) else "maximize"
    return metric, direction


def _parameters(arguments: ast.arguments) -> dict[str, Parameter]:
    first = len(arguments.args) - len(arguments.defaults)
    pairs: list[tuple[ast.arg, ast.expr | None]] = [
        (each, arguments.defaults[index - first] if index >= first else None)
        for index, each in enumerate(arguments.args)
    ]
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    return {each.arg: _parameter(each, default) for each, default in pairs}


def _parameter(argument: ast.arg, default: ast.expr | None) -> Parameter:
    value = None
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except ValueError:
            value = None
    kind = ast.unparse(argument.annotation).strip("'\"") if argument.annotation is not None else ""
    return Parameter(argument.arg, default is None, value, kind)


def _metrics(function: ast.FunctionDef, parameters: Collection[str]) -> tuple[str, ...]:
    """Names of metrics that the source shows: keys of a returned dict, a returned variable, keywords of `report`.

    A number that is returned and called as a parameter is a score: the parameter has the name already.
    """
    returned: list[str] = []
    reported: list[str] = []
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue  # what those return is not this function's
        if isinstance(node, ast.Return) and node.value is not None:
            returned += _named_in(node.value, parameters)
        elif isinstance(node, ast.Call) and _is_report(node.func):
            reported += [each.arg for each in node.keywords if each.arg and each.arg != "step"]
        pending = [*ast.iter_child_nodes(node), *pending]
    return tuple(dict.fromkeys(returned or reported))


def _named_in(value: ast.expr, parameters: Collection[str]) -> list[str]:
    while isinstance(value, ast.Call) and len(value.args) == 1:  # float(accuracy)
        value = value.args[0]
    if isinstance(value, ast.Dict):
        return [each.value for each in value.keys if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return [SCORE if value.id in parameters else value.id] if isinstance(value, ast.Name) else []


def _is_report(called: ast.expr) -> bool:
    return (isinstance(called, ast.Attribute) and called.attr == "report") or (
        isinstance(called, ast.Name) and called.id == "report"
    )
