"""Where an S3 endpoint and its keys come from: the environment, or the embedded server of this home."""

from __future__ import annotations

import os
import re

from shipway import redaction
from shipway.context import Context
from shipway.errors import AccessDenied, InvalidSpec
from shipway.storage.server import REGION, S3Config, read_info

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.\-_]+(:\d{1,5})?(/[\w./\-]*)?|https?://\[[0-9a-fA-F:]+\](:\d{1,5})?/?")
_MISPLACED = " with a user and a password in it (they belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
# obstore finds these by itself: a pod's identity, a container's, a token file.
AMBIENT = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
)


def s3_config() -> S3Config:
    """The configuration in force.

    Raises:
        AccessDenied: no keys anywhere; asking Amazon's metadata address for some would hang on a laptop.
        InvalidSpec: the endpoint is no address.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
        raise InvalidSpec(
            f"got {redaction.place(endpoint)!r}{_MISPLACED if redaction.holds_credentials(endpoint) else ''}, "
            "expected http:// or https://, a host and perhaps a port, as in http://127.0.0.1:8333",
            field="AWS_ENDPOINT_URL",
            given=redaction.place(endpoint),
        )
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access and secret:
        redaction.know_key(secret)
        return S3Config(endpoint, region, access, secret, os.environ.get("AWS_SESSION_TOKEN") or None)
    if any(os.environ.get(name) for name in AMBIENT):
        return S3Config(endpoint, region, None, None)
    if endpoint is None:
        info = read_info(Context.current().home)
        if info is not None:
            redaction.know_key(info.secret_key)
            return info.config
    raise AccessDenied(
        "no credentials",
        field=endpoint or "object storage",
        fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL), or start the local store with "
        "`shipway store start`",
    )
