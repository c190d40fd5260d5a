"""What a tag points at, asked of the registry itself (OCI distribution API)."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

from shipway.errors import InvalidSpec

ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)


def digest_of(image: str) -> str:
    """`sha256:...` of an image by its tag.

    Raises:
        InvalidSpec: the registry does not answer, or does not know the image; says how to go on without it.
    """
    import urllib3

    registry, repository, tag = split(image)
    url = f"{_scheme(registry)}://{registry}/v2/{repository}/manifests/{tag}"
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=30), retries=urllib3.Retry(2, redirect=2))
    headers = {"Accept": ACCEPT, **_login(registry)}
    try:
        answer = pool.request("HEAD", url, headers=headers)
        if answer.status == 401:
            token = _token(pool, answer.headers.get("www-authenticate", ""), _login(registry))
            answer = pool.request("HEAD", url, headers={"Accept": ACCEPT, "Authorization": f"Bearer {token}"})
    except urllib3.exceptions.HTTPError as error:
        raise _unknown(image, f"no answer from {registry} ({type(error).__name__})") from error
    digest = str(answer.headers.get("docker-content-digest", ""))
    if answer.status != 200 or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise _unknown(image, f"{registry} answered {answer.status}")
    return digest


def split(image: str) -> tuple[str, str, str]:
    """Registry host, repository, tag."""
    first, slash, rest = image.partition("/")
    if not slash or ("." not in first and ":" not in first and first != "localhost"):
        first, rest = "registry-1.docker.io", image if slash else f"library/{image}"
    repository, colon, tag = rest.rpartition(":")
    return (first, repository, tag) if colon else (first, rest, "latest")


def _scheme(registry: str) -> str:
    return "http" if registry.partition(":")[0] in ("localhost", "127.0.0.1") else "https"


def _unknown(image: str, why: str) -> InvalidSpec:
    name = image.rpartition("/")[2].partition(":")[0].removeprefix("python-")
    return InvalidSpec(
        f"the digest of {image} is unknown: {why}",
        field="publish",
        fix=(f"give it (--digest {name}=sha256:...), name your registry (--registry), or publish by tag (--no-pin)"),
    )


def _login(registry: str) -> dict[str, str]:
    """What `docker login` left behind; stores of credentials outside the file are not asked."""
    folder = Path(os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")))
    try:
        known: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("auths", {})
    except (OSError, ValueError):
        return {}
    auth = (known.get(registry) or {}).get("auth")
    return {"Authorization": f"Basic {auth}"} if auth and base64.b64decode(auth, validate=False) else {}


def _token(pool: Any, challenge: str, login: dict[str, str]) -> str:
    """The pull token that a registry sends us for (RFC 6750 challenge with realm, service and scope)."""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if "realm" not in asked:
        return ""
    fields = {key: asked[key] for key in ("service", "scope") if key in asked}
    answer = pool.request("GET", asked["realm"], fields=fields, headers=login)
    try:
        document = json.loads(answer.data)
    except ValueError:
        return ""
    return str(document.get("token") or document.get("access_token") or "")
