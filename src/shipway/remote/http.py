"""The transport below kfp's generated client: retries where they are safe, and honest words where they are not.

The generated client's own transport follows a redirect to the login page, tries a POST again that may have been
carried out, and reads a token once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3
from kfp_server_api.exceptions import ApiException
from kfp_server_api.rest import RESTClientObject, RESTResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from shipway.errors import KubeflowError, KubeflowUnavailable, LostAnswer
from shipway.patience import Patience, retry_after
from shipway.remote.credentials import Credentials

# POSTs that say what shall be, not what shall happen: carried out twice they do what they do once.
_ACTIONS = re.compile(r":(terminate|archive|unarchive|enable|disable)$")
_PASSING = (429, 500, 502, 503, 504)
# Kubeflow answers 500 to some requests that are wrong, naming the cause: they are refused, not unlucky.
_REFUSALS = re.compile(
    r"ResourceNotFoundError|Invalid input error|BadRequestError|Data too long for column|\.argoproj\.io \S+ not found"
)
_NOTHING_SAID = ("Internal Server Error", "Service unavailable")
_CAUSE = re.compile(r"(?:\w+Error|Invalid input error|Already exist error): ")
_NEVER_SENT = (NewConnectionError, ConnectTimeoutError, NameResolutionError)


@dataclass(frozen=True)
class RequestPatience(Patience):
    """With Kubeflow's API, whose every try has its own time limits."""

    attempts: float = 6
    connect_s: float = 10.0
    read_s: float = 60.0


class Transport(RESTClientObject):  # type: ignore[misc]  # kfp_server_api has no types
    """Sends a request with the credentials as they are now; GET, DELETE, PATCH and settled actions until it works."""

    def __init__(self, configuration: Any, credentials: Credentials, patience: RequestPatience) -> None:
        super().__init__(configuration)
        self._credentials = credentials
        self._patience = patience
        self._host = configuration.host

    def request(
        self,
        method: str,
        url: str,
        query_params: Any = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        post_params: Sequence[Any] | None = None,
        _preload_content: bool = True,
        _request_timeout: Any = None,
    ) -> RESTResponse:
        """As the generated client calls it.

        Raises:
            ApiException: the server refused.
            KubeflowUnavailable: nobody answers; nothing was sent.
            LostAnswer: it was sent once and may have been carried out.
        """
        settled = method != "POST" or bool(_ACTIONS.search(url))
        tries = self._patience.tries()
        while True:
            try:
                answer = self._send(method, url, query_params, headers, body, post_params)
            except HTTPError as error:
                sent = not isinstance(error, _NEVER_SENT)
                if sent and not settled:
                    raise self._lost(method, url, error) from error
                if isinstance(error, SSLError) or not tries.again():
                    raise self._unavailable(error) from error
                continue
            if (
                answer.status in _PASSING
                and not is_refusal(answer.status, answer.data)
                and (settled or answer.status == 429)
                and tries.again(retry_after(answer.headers))
            ):
                continue
            return self._checked(method, url, answer, settled)

    def _send(self, method: str, url: str, query: Any, headers: Any, body: Any, post_params: Any) -> Any:
        sent = {**(headers or {}), **self._credentials.headers()}
        options: dict[str, Any] = {"headers": sent, "retries": False, "redirect": False}
        options["timeout"] = urllib3.Timeout(connect=self._patience.connect_s, read=self._patience.read_s)
        if query:
            url = f"{url}?{urlencode(query)}"
        if post_params:  # an uploaded file; urllib3 writes the boundary itself
            sent.pop("Content-Type", None)
            return self.pool_manager.request(method, url, fields=post_params, encode_multipart=True, **options)
        sent.setdefault("Content-Type", "application/json")
        data = None if body is None else json.dumps(body)
        return self.pool_manager.request(method, url, body=data, **options)

    def _checked(self, method: str, url: str, answer: Any, settled: bool) -> RESTResponse:
        is_page = "html" in (answer.headers.get("content-type") or "")
        if answer.status in (301, 302, 303, 307, 308) or (answer.status < 400 and is_page):
            raise LoginPage(answer.headers.get("location", ""))
        if (
            answer.status in _PASSING
            and not settled
            and answer.status != 429
            and not is_refusal(answer.status, answer.data)
        ):
            raise LostAnswer(
                f"{method} {_path(url)}: {answer.status} {_message(answer.data)}", may_go_on=answer.status == 504
            )
        response = RESTResponse(answer)
        if not 200 <= answer.status <= 299:
            problem = ApiException(status=answer.status, reason=answer.reason)
            problem.body = answer.data  # the generated client decodes it
            raise problem
        return response

    def _lost(self, method: str, url: str, error: Exception) -> LostAnswer:
        timed_out = isinstance(error, ReadTimeoutError)
        what = f"no answer within {self._patience.read_s:g} s" if timed_out else "the connection broke"
        return LostAnswer(f"{method} {_path(url)}: {what}, after it was sent", may_go_on=timed_out)

    def _unavailable(self, error: Exception) -> KubeflowUnavailable:
        if isinstance(error, SSLError):
            return KubeflowUnavailable(
                f"Kubeflow at {self._host}: its certificate is not trusted ({error}); name the authority's file by "
                f"SHIPWAY_KFP_CA or ca: in ~/.config/shipway/kfp.yaml"
            )
        why = type(error).__name__ if not isinstance(error, NameResolutionError) else "no such host"
        return KubeflowUnavailable(
            f"Kubeflow at {self._host}: no answer ({why}, {self._patience.attempts} attempts); is the address right, "
            "is the port still forwarded (kubectl port-forward -n kubeflow svc/ml-pipeline 8888)?"
        )


class LoginPage(KubeflowError):
    """The answer was a page or a redirect to one: a proxy in front wants a login."""


def _path(url: str) -> str:
    return url.partition("/apis/")[2].partition("?")[0] or url


def is_refusal(status: int, data: bytes | str | None) -> bool:
    """Whether a 500 says what is wrong with the request, so that sending it again changes nothing."""
    return status == 500 and bool(_REFUSALS.search(as_text(data)))


def as_text(data: bytes | str | None) -> str:
    """An answer's body."""
    return data.decode("utf-8", errors="replace") if isinstance(data, bytes) else str(data or "")


def _message(data: bytes | str | None) -> str:
    """The server's own words, or the text's beginning.

    Kubeflow's `message` is the whole chain of causes; `details` has the last one as it is meant for a person, unless
    that is just "Internal Server Error". An upload's answer has `error_message`.
    """
    text = as_text(data)
    try:
        document = json.loads(text)
        meant = [str(one.get("message", "")) for one in document.get("details") or []]
        chain = str(document.get("message") or document.get("error_message") or document.get("error") or text)
        text = meant[0] if meant and meant[0] not in ("", *_NOTHING_SAID) else _CAUSE.split(chain)[-1]
    except (ValueError, AttributeError):
        pass
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:120]} ... {text[-170:]}"


def server_message(error: ApiException) -> str:
    """What the server said about a refusal."""
    return _message(error.body) or str(error.reason or "")


def grpc_code(error: ApiException) -> int:
    """The code in Kubeflow's answer; 0 where there is none, as from a proxy or an upload."""
    try:
        return int(json.loads(as_text(error.body)).get("code", 0))
    except (ValueError, AttributeError, TypeError):
        return 0
