"""What a prediction request may hold, whatever the task and the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ValidationError

from shipway.inputs.base import BadRequest, Input
from shipway.inputs.json_kinds import check_names, kind_of, shown
from shipway.tasks.base import Answers

MAX_INSTANCES = 1024
MAX_BODY_BYTES = 16 << 20
FIELDS = ("instances", "parameters")


@dataclass(frozen=True)
class Reader:
    """What a request may hold, by the model's input and task and the endpoint's limits.

    Attributes:
        kind: The input.
        answers: The task's.
        limits: Of one instance, `kind.Limits`.
        max_instances: In one request.
        max_body_bytes: Size of a request's body.
    """

    kind: Input
    answers: Answers
    limits: BaseModel
    max_instances: int = MAX_INSTANCES
    max_body_bytes: int = MAX_BODY_BYTES

    @cached_property
    def nothing_asked(self) -> BaseModel:
        """Params of a request without parameters."""
        return self.answers.Params()

    @cached_property
    def json_tokens(self) -> int:
        """Strings, brackets and commas that the instances of a request may take."""
        return self.max_instances * self.kind.json_tokens(self.limits)


@dataclass(frozen=True)
class Query:
    """A request that is in order.

    Attributes:
        values: What the encoder takes, one by instance.
        params: What the request asks of the answers, the task's `Params`.
    """

    values: list[Any]
    params: BaseModel


def read_v1(body: Any, reader: Reader) -> Query:
    """The query of a V1 request: `{"instances": [...]}`, and `parameters` that the task knows.

    Raises:
        BadRequest: says which part is wrong, what was given and what is expected.
    """
    if not isinstance(body, Mapping):
        raise BadRequest(f"the body must be a JSON object, got {kind_of(body)}")
    if "instances" not in body:
        raise BadRequest('"instances" is missing; expected {"instances": [...]}')
    check_names(body, FIELDS, "the body")
    instances = body["instances"]
    if not isinstance(instances, list):
        raise BadRequest(f'"instances" must be a list of instances, got {kind_of(instances)}')
    return Query(read_instances(instances, "instances", reader), read_params(body.get("parameters"), reader))


def read_instances(instances: Sequence[Any], where: str, reader: Reader) -> list[Any]:
    """The values of what a request lists.

    Raises:
        BadRequest: as `read_v1`.
    """
    if not instances:
        raise BadRequest(f'"{where}" is empty; expected 1 to {reader.max_instances} instances')
    if len(instances) > reader.max_instances:
        raise BadRequest(f'"{where}" holds {len(instances)} instances, at most {reader.max_instances} are allowed')
    read, limits = reader.kind.read_instance, reader.limits
    return [read(instance, f"{where}[{i}]", limits) for i, instance in enumerate(instances)]


def read_params(parameters: Any, reader: Reader, also: Sequence[str] = ()) -> BaseModel:
    """What a request asks of the answers.

    Args:
        parameters: As they stand in the request; null where there are none.
        reader: Of the request.
        also: Names that the protocol itself knows there.

    Raises:
        BadRequest: names the parameter, what it may be and what was given.
    """
    model = reader.answers.Params
    try:
        if parameters is None:
            return reader.nothing_asked
        check_names(parameters, (*model.model_fields, *also), '"parameters"')
        return model.model_validate({name: value for name, value in parameters.items() if name not in also})
    except ValidationError as error:
        raise BadRequest(_explain(model, error, parameters or {})) from None


def _explain(model: type[BaseModel], error: ValidationError, given: Mapping[str, Any]) -> str:
    """The first wrong parameter in one line; what it may be says its field's description, else pydantic."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if not (location := problems[0]["loc"]):
        return f'"parameters": {problems[0]["msg"].removeprefix("Value error, ")}'
    name = str(location[0])
    if problems[0]["type"] == "missing":
        return f"parameters.{name} is missing"
    field = model.model_fields.get(name)
    wanted = [each["msg"].removeprefix("Input should be ") for each in problems if each["loc"][:1] == location[:1]]
    allowed = field.description if field and field.description else " or ".join(dict.fromkeys(wanted))
    told = f", got {shown(given[name])}" if name in given else ""
    return f"parameters.{name} must be {allowed}{told}"
