"""What a prediction request may hold, whatever the task and the input, and a client for it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from shipway.errors import NotFound, ShipwayError, UserError
from shipway.inputs.base import BadRequest, Input
from shipway.inputs.json_kinds import check_names, kind_of, shown
from shipway.tasks.base import Answers

BUSY_TRIES = 5
BUSY_S = 5.0  # never waited longer for the next try, whatever the endpoint says
NO_WAY = (404, 502, 503, 504)  # what a gateway answers before it knows where an endpoint is
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


class NoAnswer(UserError):
    """Nobody answers at an endpoint's address, or a gateway does, which does not know the way there (yet)."""


class Client:
    """Asks an endpoint over one kept connection; not to be shared between threads.

    Args:
        url: The predict URL, `http://host:port/v1/models/<name>:predict`, or the endpoint's base URL with `name`.
        name: The model's name, where the URL doesn't hold it.
        timeout_s: For one request.
    """

    def __init__(self, url: str, name: str | None = None, timeout_s: float = 30.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"{url!r} is not an http address; `shipway endpoints` lists those here", field="url", given=url
            )
        path = parts.path.rstrip("/")
        if not path.endswith(":predict"):
            if name is None:
                raise UserError(
                    f"{url!r} names no model", field="url", given=url, fix="give the predict URL or the model's name"
                )
            path = f"{path}/v1/models/{urllib.parse.quote(name)}:predict"
        self.url = f"{parts.scheme}://{parts.netloc}{path}"
        self._path = path
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)

    def predict(self, instances: Sequence[Any], **parameters: Any) -> list[Any]:
        """The answers, in the order of the instances.

        Args:
            instances: JSON, as the model's input takes it; at most as many as the endpoint allows in one request.
            parameters: That the model's task knows, such as `top_k=3` of a classifier.

        Raises:
            NoAnswer: nobody answers there.
            UserError: the endpoint refuses the request.
            NotFound: it serves no model of that name.
            ShipwayError: it failed to answer.
        """
        return self.ask(instances, **parameters)[0]

    def ask(self, instances: Sequence[Any], **parameters: Any) -> tuple[list[Any], str]:
        """The answers, and the version of the model that gave them; see `predict`."""
        body = {"instances": list(instances), **({"parameters": parameters} if parameters else {})}
        answer = self._post(json.dumps(body).encode())
        predictions = answer.get("predictions")
        if not isinstance(predictions, list) or len(predictions) != len(instances):
            raise ShipwayError(f"{self.url}: its answer has not one prediction for each of {len(instances)} instances")
        return predictions, str(answer.get("model_version", ""))

    def _post(self, body: bytes) -> dict[str, Any]:
        try:
            status, data, wait_s = self._send(body)
            for _ in range(BUSY_TRIES - 1):
                if status != 503 or wait_s is None:
                    break
                time.sleep(wait_s)  # it is busy, and says for how long
                status, data, wait_s = self._send(body)
        except TimeoutError as error:
            self.close()
            raise ShipwayError(f"{self.url}: no answer within {self._connection.timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(
                f"nobody answers there ({error}); `shipway endpoints` lists what runs", field=self.url
            ) from None
        try:
            answer = json.loads(data)
        except ValueError as error:
            if status in NO_WAY:
                raise NoAnswer(f"no endpoint answers there, but a gateway with HTTP {status}", field=self.url) from None
            raise ShipwayError(f"{self.url}: HTTP {status}, not JSON: {data[:200]!r}") from error
        if status == 200 and isinstance(answer, dict):
            return answer
        reason = answer.get("error", answer) if isinstance(answer, dict) else answer
        kind = NotFound if status == 404 else UserError if 400 <= status < 500 else ShipwayError
        raise kind(f"{self.url}: HTTP {status}: {reason}")

    def _send(self, body: bytes) -> tuple[int, bytes, float | None]:
        """Status, body, and the seconds to wait before another try.

        A kept connection may have been closed by the server just now: asked again once, on a new one.
        """
        for is_last in (self._connection.sock is None, True):
            try:
                self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
                response = self._connection.getresponse()
                after = response.headers.get("Retry-After", "")
                wait_s = min(float(after), BUSY_S) if after.isascii() and after.isdigit() else None
                return response.status, response.read(), wait_s
            except (ConnectionError, http.client.BadStatusLine):
                self._connection.close()
                if is_last:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
