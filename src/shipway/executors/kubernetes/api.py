"""One API server: requests that survive its restart, its throttling and a token that was changed meanwhile.

The `kubernetes` package brings kubeconfig, in-cluster configuration and TLS; requests go through its connection pool
as plain JSON, since custom resources have no types there.
"""

from __future__ import annotations

import atexit
import contextlib
import email.utils
import functools
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shipway import kubeconfig
from shipway.errors import NotFound, ShipwayError, UserError
from shipway.patience import Patience, retry_after

PATIENCE_S = 60.0  # for an API server that is restarted, or that throttles
REQUEST_S = 30.0
BRIEF_S = 5.0
# Bookmarks come about once a minute: a watch that is silent for longer has lost its server.
WATCH_SILENCE_S = 150.0
FREE_S = 60.0  # the server closes a connection that is silent for 90
_AGAIN = (429, 500, 502, 503, 504)


class ApiError(ShipwayError):
    """The API server's answer to a request that it did not carry out.

    Attributes:
        status: HTTP status; 0: nobody answered.
        reason: Machine-readable, `AlreadyExists`.
        message: The server's own.
        details: What it is about, as `metav1.Status` has it.
    """

    def __init__(self, status: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"Kubernetes API: {status or 'no answer'} {reason}: {message}")
        self.status, self.reason, self.message, self.status_details = status, reason, message, dict(details or {})


class Api:
    """A connection to the cluster that the surroundings name.

    Args:
        connect: Gives a fresh client; called again when the server refuses the credentials, which may have been
            changed since. Default: the pod's service account, else kubeconfig.
        patience_s: How long a request is repeated while the server is away or throttles.
    """

    def __init__(self, connect: Callable[[], Any] | None = None, *, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._connect = connect or connected
        self._client = self._connect()
        self._lock = threading.Lock()
        self._skew_s = 0.0
        self._free_since = 0.0  # when a connection was last seen to be free
        self.calls = 0  # requests sent, for whoever measures

    @property
    def host(self) -> str:
        """Base URL of the API server."""
        return str(self._client.configuration.host).rstrip("/")

    def now(self) -> float:
        """The API server's time, seconds since the epoch: what it wrote into objects is compared with this."""
        return time.time() + self._skew_s

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """An object, or a list of them."""
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any], **query: str) -> dict[str, Any]:
        """Creates. Sent again after a lost answer, so it may say `AlreadyExists` of what it has just created."""
        return self.request("POST", path, body=body, query=query)

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replaces; `Conflict` unless the body's resourceVersion is the present one."""
        return self.request("PUT", path, body=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merges (RFC 7386)."""
        return self.request("PATCH", path, body=body, content="application/merge-patch+json")

    def delete(self, path: str, *, patience_s: float | None = None, **options: Any) -> bool:
        """Deletes; False when it was not there."""
        try:
            self.request("DELETE", path, body={"propagationPolicy": "Background", **options}, patience_s=patience_s)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def find(self, path: str) -> dict[str, Any] | None:
        """An object, None where there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        patience_s: float | None = None,
    ) -> dict[str, Any]:
        """Sends one request, again while the server is away or throttles.

        Raises:
            ApiError: its answer.
            UserError: the credentials are refused, or nobody answers within `patience_s` (default: the connection's).
        """
        patience_s = self.patience_s if patience_s is None else patience_s
        tries = Patience(within_s=patience_s, first_s=0.2, cap_s=5.0, asked_s=10.0).tries()
        renewed = False
        while True:
            try:
                return self._answer(method, path, body, query, content)
            except ApiError as error:
                if error.status == 401 and not renewed:
                    renewed = True
                    self._renew()
                    continue
                if error.status == 401:
                    raise self._refused() from None
                if not _may_pass(error) or not tries.again(error.status_details.get("retryAfterSeconds")):
                    raise self._silent(patience_s, error) if error.status == 0 else error from None

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Changes as they come (`{"type", "object"}`), until the server ends the watch.

        Raises:
            ApiError: also for an ERROR event, with the status that it carries (410: start from a list again). After a
                401 the next try shows the credentials of then.
        """
        with self._opened(path, {**query, "watch": "1"}, WATCH_SILENCE_S) as response:
            try:
                for line in _lines(response):
                    change: dict[str, Any] = json.loads(line)
                    if change["type"] == "ERROR":
                        raise _api_error(change["object"].get("code", 0), change["object"])
                    yield change
            except self._broken_answers() as error:  # half a line is no JSON
                raise ApiError(0, "Disconnected", _short(error)) from error

    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[str]:
        """The lines of a log, as they come where `query` says follow."""
        wait_s = 3600.0 if query.get("follow") else REQUEST_S
        with self._opened(path, query, wait_s) as response:
            try:
                for line in _lines(response):
                    yield line.decode("utf-8", "replace")
            except self._network_errors():
                return  # a log that is followed ends with its pod, one way or the other

    def keep_open(self) -> None:
        """Has a connection at hand for a DELETE that must not wait for a handshake; call it every second or so.

        A watch takes away the one that was free. Costs a request a minute where nothing else is asked.
        """
        if self._free_since and time.monotonic() - self._free_since < FREE_S:
            return
        self._free_since = time.monotonic()
        # A server that is away is told by the watch.
        with (
            contextlib.suppress(ApiError, *self._network_errors()),
            self._send("GET", "/version", None, {}, "", BRIEF_S) as response,
        ):
            response.read()

    # -- private ---------------------------------------------------------------------------------------------------

    def _answer(self, method: str, path: str, body: Any, query: Any, content: str) -> dict[str, Any]:
        """One whole answer; a connection that is lost in the middle of it counts as nobody there."""
        with self._send(method, path, body, query, content, REQUEST_S) as response:
            try:
                answer: dict[str, Any] = json.loads(response.data)
            except self._broken_answers() as error:
                raise ApiError(0, "Disconnected", _short(error)) from error
        self._free_since = time.monotonic()
        return answer

    def _opened(self, path: str, query: Any, wait_s: float) -> Any:
        """A stream, with credentials that were read anew where the old ones are refused."""
        self._free_since = 0.0
        try:
            return self._send("GET", path, None, query, "", wait_s)
        except ApiError as error:
            if error.status != 401:
                raise
        self._renew()
        return self._send("GET", path, None, query, "", wait_s)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Any, content: str, wait_s: float
    ) -> Any:
        from urllib.parse import urlencode

        import urllib3

        client = self._client
        headers = {"Accept": "application/json"}
        client.update_params_for_auth(headers, [], ["BearerToken"])
        if body is not None:
            headers["Content-Type"] = content
        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        data = json.dumps(body).encode() if body is not None else None
        self.calls += 1
        try:
            response = client.rest_client.pool_manager.request(
                method, url, body=data, headers=headers, preload_content=False, retries=False,
                timeout=urllib3.Timeout(connect=5.0, read=wait_s),
            )  # fmt: skip
            if response.status >= 400:
                raise _api_error(response.status, _document(response), response.headers)
        except self._network_errors() as error:
            raise ApiError(0, type(error).__name__, _short(error)) from error
        date = email.utils.parsedate_to_datetime(response.headers["Date"]) if response.headers.get("Date") else None
        if date is not None:
            self._skew_s = date.timestamp() + 0.5 - time.time()  # the header has whole seconds
        return response

    @staticmethod
    def _network_errors() -> tuple[type[BaseException], ...]:
        import urllib3

        return (urllib3.exceptions.HTTPError, OSError)

    @classmethod
    def _broken_answers(cls) -> tuple[type[BaseException], ...]:
        return (*cls._network_errors(), ValueError)

    def _renew(self) -> None:
        with self._lock:
            self._client = self._connect()

    def _refused(self) -> UserError:
        return UserError(
            "it refuses the credentials (401), a token may have expired",
            field=f"cluster {self.host}",
            fix="log in again, or name another kubeconfig with KUBECONFIG",
        )

    def _silent(self, patience_s: float, error: ApiError) -> UserError:
        return UserError(
            f"nobody answered for {patience_s:g} s ({error.message}); check that the cluster is up "
            "and that `kubectl get namespaces` works",
            field=f"cluster {self.host}",
        )


def _may_pass(error: ApiError) -> bool:
    """Whether the same request may succeed in a moment: many creations at once collide in a quota's count, and a quota
    on a kind that is new to the cluster is not counted at once."""
    collides = (
        error.status == 409 and error.reason == "Conflict" and error.status_details.get("kind") == "resourcequotas"
    )
    is_uncounted = error.status == 403 and "status unknown for quota" in error.message
    return error.status in (0, *_AGAIN) or collides or is_uncounted


def connected() -> Any:
    """A client by the pod's service account, else by kubeconfig (KUBECONFIG, its current context).

    Raises:
        UserError: there is neither.
    """
    from kubernetes import client, config

    _end_quickly()
    configuration = client.Configuration()
    try:
        config.load_incluster_config(configuration)
    except config.ConfigException:
        try:
            configuration = kubeconfig.load()
        except NotFound as error:
            raise UserError(
                f"no cluster: {error}",
                field="KUBECONFIG",
                fix=(
                    "set KUBECONFIG to a kubeconfig file with a current context, or run with SHIPWAY_EXECUTOR=process"
                ),
            ) from error
    return client.ApiClient(configuration)


@functools.cache
def _end_quickly() -> None:
    """At its end the interpreter looks for garbage among all that it ever imported, the client's hundreds of models
    included: 0.4 s by which every step would outlast its job."""
    atexit.register(gc.freeze)


def explain(error: ApiError, what: str, namespace: str) -> ShipwayError:
    """The error that a person should read for a refused create, replace or delete.

    Args:
        error: The server's answer.
        what: `TFJob demo-train-1`.
        namespace: Where it was to be.
    """
    text = error.message
    if error.status == 404 and f'namespaces "{namespace}" not found' in text:
        return NotFound(
            "there is none in this cluster",
            field=f"namespace {namespace!r}",
            fix=(f"create it (`kubectl create namespace {namespace}`), or name another with SHIPWAY_NAMESPACE"),
        )
    if error.status == 404:
        return NotFound(
            f"the cluster does not know this kind ({text})",
            field=what,
            fix="install its operator, `shipway doctor --cluster` names what is missing",
        )
    if "exceeded quota" in text:
        return UserError(
            f"quota of namespace {namespace} refuses it ({text})", field=what, fix="free some of it or have it raised"
        )
    if "ValidatingAdmissionPolicy '" in text:
        from shipway.errors import InvalidSpec

        policy, said = text.partition("ValidatingAdmissionPolicy '")[2].split("'")[0], text.rpartition("request: ")[2]
        return InvalidSpec(f"the cluster's policy {policy} refuses it in namespace {namespace}: {said}", field=what)
    if "denied the request" in text or error.status in (400, 422):
        from shipway.errors import InvalidSpec

        return InvalidSpec(f"the cluster refuses the manifest: {text}", field=what)
    if error.status == 403:
        return UserError(
            (f"not allowed in namespace {namespace} ({text}); grant it with a Role, as manifests/ has it"), field=what
        )
    return error


def _api_error(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> ApiError:
    details = dict(document.get("details") or {})
    if headers and (asked_s := retry_after(headers)) is not None:
        details["retryAfterSeconds"] = asked_s
    said = document.get("message") or document.get("error") or ""  # a predictor behind the proxy says `error`
    return ApiError(status, str(document.get("reason", "")), str(said), details)


def _document(response: Any) -> dict[str, Any]:
    data = response.read()
    try:
        document = json.loads(data)
        return document if isinstance(document, dict) else {"message": str(document)}
    except ValueError:
        return {"message": data.decode("utf-8", "replace").strip()[:500]}


def _lines(response: Any) -> Iterator[bytes]:
    """Whole lines of a streamed body; CR does not end one."""
    rest = b""
    for chunk in response.stream(1 << 16, decode_content=True):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.rpartition("(Caused by ")[2].rstrip(")") if "(Caused by " in text else text
