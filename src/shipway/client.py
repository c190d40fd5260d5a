"""A client for an endpoint, whatever the task and the input of its model."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from shipway.errors import NotFound, ShipwayError, UserError
from shipway.patience import Patience, retry_after

BUSY = Patience(attempts=5, first_s=0.0, asked_s=5.0)  # with one that says so, and for how long
NO_WAY = (404, 502, 503, 504)  # what a gateway answers before it knows where an endpoint is


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
            tries = BUSY.tries()
            status, data, asked_s = self._send(body)
            while status == 503 and asked_s is not None and tries.again(asked_s):
                status, data, asked_s = self._send(body)
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
        """Status, body, and for how many seconds it asks to be left alone.

        A kept connection may have been closed by the server just now: asked again once, on a new one.
        """
        for is_last in (self._connection.sock is None, True):
            try:
                self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
                response = self._connection.getresponse()
                return response.status, response.read(), retry_after(response.headers)
            except (ConnectionError, http.client.BadStatusLine):
                self._connection.close()
                if is_last:
                    raise
            except BaseException:  # Ctrl-C, too: the answer that is still to come is not the next request's
                self._connection.close()
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
