"""What a Secret that leads to the store holds, what it lacks, what the store says to it, and what mends it."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from shipway.context import STORE
from shipway.errors import AccessDenied, NotFound, ShipwayError
from shipway.store_secret import KEYS

TIMEOUT_S = 2.0


def contents(secret: Mapping[str, Any]) -> dict[str, str]:
    """Its values as text."""
    data = secret.get("data") or {}
    return {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in data.items()}


def create_command(namespace: str, name: str, keys: Iterable[str] = KEYS) -> str:
    """What makes it, values to be filled in."""
    given = " ".join(f"--from-literal={key}={_example(key)}" for key in keys)
    return f"kubectl -n {namespace} create secret generic {name} {given}"


def patch_command(namespace: str, name: str, keys: Iterable[str]) -> str:
    """What sets some of its keys, values to be filled in."""
    given = json.dumps({"stringData": {key: _example(key) for key in keys}})
    return f"kubectl -n {namespace} patch secret {name} --type merge -p '{given}'"


def wrong_keys(error: BaseException | str) -> tuple[str, ...]:
    """The keys that an error of the store speaks about; an error's class, or its name."""
    kind = error if isinstance(error, str) else type(error).__name__
    if kind == AccessDenied.__name__:
        return ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return (STORE,) if kind in (NotFound.__name__, "InvalidSpec") else ("AWS_ENDPOINT_URL",)


def refusal(values: Mapping[str, str]) -> ShipwayError | None:
    """What the store answers to these values, asked by one listing; None where it agrees or is out of reach from here.

    Args:
        values: As the variables of a pod.
    """
    from shipway.storage import Store
    from shipway.storage.s3 import S3Backend
    from shipway.storage.server import S3Config

    endpoint, uri = values.get("AWS_ENDPOINT_URL", ""), values.get(STORE, "")
    if not uri.startswith("s3://") or not listens(endpoint):
        return None
    config = S3Config(endpoint, values.get("AWS_REGION") or "us-east-1", values.get("AWS_ACCESS_KEY_ID"),
                      values.get("AWS_SECRET_ACCESS_KEY"))  # fmt: skip
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    try:
        next(iter(Store(uri, S3Backend(bucket, config), prefix.strip("/")).list("doctor")), None)
    except (AccessDenied, NotFound) as error:
        return error
    except ShipwayError:  # it cannot be judged from here
        return None
    return None


def listens(url: str) -> bool:
    """Whether somebody does; a Service's name means nothing outside of its cluster."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if not parts.hostname:
            return False
        with socket.create_connection((parts.hostname, port), TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False


def _example(key: str) -> str:
    return KEYS.get(key, "VALUE")
