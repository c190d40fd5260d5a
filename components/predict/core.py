"""What a prediction request may hold, what its answer looks like, and a client for it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shipway.errors import NotFound, ShipwayError, UserError

DEFAULT_TOP_K = 5
BUSY_TRIES = 5
BUSY_S = 5.0  # never waited longer for the next try, whatever the endpoint says
FIELDS = ("instances", "parameters")
SHOWN_CHARS = 40
SHOWN_ITEMS = 4


class BadRequest(ValueError):
    """A request that cannot be answered; its message is the reason, in one line."""


@dataclass(frozen=True)
class Limits:
    """How much one request may ask.

    Attributes:
        max_instances: Texts in one request.
        max_text_chars: Characters of one text.
        max_body_bytes: Size of a request's body.
    """

    max_instances: int = 1024
    max_text_chars: int = 10_000
    max_body_bytes: int = 16 << 20


@dataclass(frozen=True)
class Query:
    """A request that is in order.

    Attributes:
        texts: What to classify.
        top_k: How many labels to name with their probabilities; None: all.
    """

    texts: list[str]
    top_k: int | None


def read_v1(body: Any, limits: Limits) -> Query:
    """The query of a V1 request: `{"instances": ["text", ...]}` or `[{"text": ...}, ...]`, and `parameters.top_k`.

    Raises:
        BadRequest: says which part is wrong, what was given and what is expected.
    """
    if not isinstance(body, Mapping):
        raise BadRequest(f"the body must be a JSON object, got {kind_of(body)}")
    if "instances" not in body:
        raise BadRequest('"instances" is missing; expected {"instances": ["text", ...]}')
    check_names(body, FIELDS, "the body")
    instances = body["instances"]
    if not isinstance(instances, list):
        raise BadRequest(f'"instances" must be a list of texts, got {kind_of(instances)}')
    return read_texts(instances, body.get("parameters"), limits, "instances", ("top_k",))


def check_names(given: Any, allowed: Sequence[str], where: str) -> None:
    """Refuses what is no object, and a name that means nothing there: ignored, it would be taken for honoured."""
    if not isinstance(given, Mapping):
        raise BadRequest(f"{where} must be a JSON object, got {kind_of(given)}")
    for name in given:
        if name not in allowed:
            raise BadRequest(f"{where}: unknown name {shown(name)}; allowed are {', '.join(allowed)}")


def read_texts(
    instances: Sequence[Any], parameters: Any, limits: Limits, where: str, parameter_names: Sequence[str]
) -> Query:
    """The query for what a request's list of texts and its parameters hold.

    Raises:
        BadRequest: as `read_v1`.
    """
    if not instances:
        raise BadRequest(f'"{where}" is empty; expected 1 to {limits.max_instances} texts')
    if len(instances) > limits.max_instances:
        raise BadRequest(f'"{where}" holds {len(instances)} texts, at most {limits.max_instances} are allowed')
    texts = [_text(instance, f"{where}[{i}]") for i, instance in enumerate(instances)]
    for i, text in enumerate(texts):
        if len(text) > limits.max_text_chars:
            raise BadRequest(f"{where}[{i}] has {len(text)} characters, at most {limits.max_text_chars} are allowed")
    parameters = {} if parameters is None else parameters
    check_names(parameters, parameter_names, '"parameters"')
    top_k = parameters.get("top_k", DEFAULT_TOP_K)
    if top_k == "all":
        return Query(texts, None)
    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
        raise BadRequest(f'parameters.top_k must be a whole number from 1 or "all", got {shown(top_k)}')
    return Query(texts, top_k)


def _text(value: Any, where: str) -> str:
    if isinstance(value, Mapping):
        if "text" not in value:
            raise BadRequest(f'{where}: "text" is missing')
        where, value = f"{where}.text", value["text"]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest(f"{where}: not UTF-8") from None
    if not isinstance(value, str):
        raise BadRequest(f"{where} must be a string, got {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """What a JSON value is, in the words of an error."""
    names = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def shown(value: Any) -> str:
    """A JSON value as an error quotes it: a few characters, whatever a client sent and however deep it is nested."""
    if isinstance(value, str):
        return repr(value[:SHOWN_CHARS])
    if isinstance(value, list) and len(value) <= SHOWN_ITEMS and not any(isinstance(v, list | dict) for v in value):
        return f"[{', '.join(map(shown, value))}]"
    return kind_of(value) if isinstance(value, list | dict) else json.dumps(value)


def top(probabilities: NDArray[np.float32], k: int | None) -> NDArray[np.intp]:
    """Class ids of the `k` highest probabilities by row, highest first; (n, k). Ties go to the lower id."""
    order: NDArray[np.intp] = np.argsort(-probabilities, axis=1, kind="stable")
    return order if k is None else order[:, :k]


def answers(
    probabilities: NDArray[np.float32], labels: Sequence[str], threshold: float | None, top_k: int | None
) -> list[dict[str, Any]]:
    """One answer by text.

    Args:
        probabilities: float32 (n, classes).
        labels: Class names by column.
        threshold: Below it the top probability means "none of these": the label is null. None: never.
        top_k: How many labels to name; None: all.

    Returns:
        `label`, `out_of_scope`, `probability` (of the top class) and `probabilities` (label -> probability, highest
        first) by text; the numbers are float32.
    """
    result = []
    for row, ids in zip(probabilities, top(probabilities, top_k), strict=True):
        best = row[ids[0]]
        is_out = threshold is not None and bool(best < threshold)
        result.append(
            {
                "label": None if is_out else labels[ids[0]],
                "out_of_scope": is_out,
                "probability": best,
                "probabilities": {labels[i]: row[i] for i in ids},
            }
        )
    return result


@dataclass(frozen=True)
class Prediction:
    """The answer to one text.

    Attributes:
        label: None when nothing fits (`is_out_of_scope`).
        probability: Of the top class, whether or not it is above the threshold.
        probabilities: Label -> probability, highest first.
        model_version: That answered.
    """

    text: str
    label: str | None
    is_out_of_scope: bool
    probability: float
    probabilities: dict[str, float]
    model_version: str


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
            raise UserError(f"url: {url!r} is not an http address; `shipway endpoints` lists those here")
        path = parts.path.rstrip("/")
        if not path.endswith(":predict"):
            if name is None:
                raise UserError(f"url: {url!r} names no model; give the predict URL or the model's name")
            path = f"{path}/v1/models/{urllib.parse.quote(name)}:predict"
        self.url = f"{parts.scheme}://{parts.netloc}{path}"
        self._path = path
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)

    def predict(self, texts: Sequence[str], top_k: int | str = DEFAULT_TOP_K) -> list[Prediction]:
        """The answers, in the order of the texts.

        Args:
            texts: At most as many as the endpoint allows in one request.
            top_k: How many labels to name, or "all".

        Raises:
            UserError: the endpoint refuses the request, or nobody answers there.
            NotFound: it serves no model of that name.
            ShipwayError: it failed to answer.
        """
        body = {"instances": list(texts), "parameters": {"top_k": top_k}}
        answer = self._post(json.dumps(body).encode())
        version = str(answer.get("model_version", ""))
        return [
            Prediction(text, p["label"], p["out_of_scope"], p["probability"], p["probabilities"], version)
            for text, p in zip(texts, answer["predictions"], strict=True)
        ]

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
            raise UserError(
                f"{self.url}: nobody answers there ({error}); `shipway endpoints` lists what runs"
            ) from None
        try:
            answer = json.loads(data)
        except ValueError as error:
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
