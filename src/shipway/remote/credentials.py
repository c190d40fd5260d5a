"""Who asks: bearer tokens, ServiceAccount token files and login cookies, read anew for every request.

A projected ServiceAccount token is replaced by the kubelet about every hour, so a file is never read only once.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shipway import redaction
from shipway.errors import NotAllowed

LONG = 12  # characters of a part of a token or cookie that is no word
RENEW = "kubectl create token <service account> -n <namespace> --audience pipelines.kubeflow.org"


@dataclass(frozen=True)
class Secret:
    """A token or cookie: its value, or the file that holds it.

    Attributes:
        origin: Where a person finds it, for messages: `SHIPWAY_KFP_TOKEN`, a path.
    """

    origin: str
    value: str = field(default="", repr=False)
    path: Path | None = None

    def read(self) -> str:
        """The secret as it stands now.

        Raises:
            NotAllowed: the file cannot be read, or is empty.
        """
        if self.path is None:
            return self.value
        try:
            text = self.path.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotAllowed(f"{self.origin} cannot be read: {error}", field="token") from error
        if not text:
            raise NotAllowed(f"{self.origin} is empty", field="token")
        return text


@dataclass(frozen=True)
class Credentials:
    """What is sent along with each request; either, both or none."""

    token: Secret | None = None
    cookie: Secret | None = None

    def headers(self) -> dict[str, str]:
        """The headers of one request."""
        sent = {}
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token.read()}"
        if self.cookie is not None:
            sent["Cookie"] = self.cookie.read()
        # A server may echo them. Of a cookie only long parts: the rest is its name and its attributes.
        parts = [part for value in sent.values() for part in re.split(r"Bearer |[=;]\s*", value)]
        redaction.know_key(*(part for part in parts if len(part) >= LONG))
        return sent

    def describe(self, now: datetime | None = None) -> str:
        """Whose secret it is, from where, until when; never the secret."""
        if self.token is not None:
            claims = read_claims(self.token.read())
            who = who_is(claims)
            words = [f"the token from {self.token.origin}"]
            if who:
                words.append(f"of {who}")
            if "exp" in claims:
                words.append(_until(float(claims["exp"]), now or datetime.now(UTC)))
            return " ".join(words)
        if self.cookie is not None:
            return f"the cookie from {self.cookie.origin}"
        return "a request without token and cookie"

    def renewal(self) -> str:
        """What to do when they are refused."""
        if self.token is not None:
            place = f"write it to {self.token.path}" if self.token.path else f"put it into {self.token.origin}"
            return f"make a new one ({RENEW}) and {place}"
        if self.cookie is not None:
            return f"log in with the browser again and copy the cookie to {self.cookie.origin}"
        return (
            "set SHIPWAY_KFP_TOKEN, SHIPWAY_KFP_TOKEN_FILE or SHIPWAY_KFP_COOKIE "
            "(docs/kubeflow.md, Who asks), or name a file in ~/.config/shipway/kfp.yaml"
        )


def read_claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified: only to say whose it is; empty for an opaque token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def who_is(claims: dict[str, Any]) -> str:
    """Email, or subject: `system:serviceaccount:<namespace>:<name>`."""
    return str(claims.get("email") or claims.get("sub") or "")


def _until(expires: float, now: datetime) -> str:
    moment = datetime.fromtimestamp(expires, UTC)
    minutes = abs((now - moment).total_seconds()) / 60
    shown = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    stamp = moment.strftime("%Y-%m-%d %H:%M UTC")
    return f"which expired at {stamp} ({shown} ago)" if moment <= now else f"(valid until {stamp})"
