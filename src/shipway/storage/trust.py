"""Whose certificates are trusted: the system's authorities, and those of the files that the environment names."""

from __future__ import annotations

import functools
import os
import re
import ssl
from pathlib import Path

from shipway.errors import InvalidSpec, Untrusted

# As AWS's tools, requests and OpenSSL call them; each may name a file of its own, all are trusted.
VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# What OpenSSL and rustls say -> what it means, what helps.
_REASONS = (
    (
        ("has expired", "expired", "certexpired"),
        "has expired",
        "ask who runs it for a new one, and check this machine's date",
    ),
    (("not yet valid", "notvalidyet"), "is not valid yet", "check this machine's date"),
    (
        ("hostname mismatch", "ip address mismatch", "not valid for", "notvalidforname"),
        "is for another name",
        "use the name that stands in it",
    ),
    (
        ("unknownissuer", "unable to get", "self-signed", "self signed", "verify failed", "invalid peer certificate"),
        "is not trusted here",
        "name its authority's file, as in AWS_CA_BUNDLE=/path/to/ca.pem",
    ),
)
TLS_WANTED = "http request to an https server"  # as Go's servers answer to it
_NO_TLS = ("invalidcontenttype", "wrong_version_number", "wrong version number", "record layer failure")


def authorities() -> str:
    """The certificates of the files that the environment names, as PEM; empty where it names none.

    Raises:
        InvalidSpec: a file that is not there, or holds no certificate.
    """
    return "".join(_read(name, os.environ[name]) for name in VARIABLES if os.environ.get(name))


def context() -> ssl.SSLContext:
    """What the standard library's and urllib3's clients take."""
    return _context(authorities())


@functools.lru_cache(maxsize=4)
def _context(text: str) -> ssl.SSLContext:
    made = ssl.create_default_context()
    if text:
        made.load_verify_locations(cadata=text)
    return made


def _read(name: str, value: str) -> str:
    path = Path(value)
    try:
        files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
        text = "\n".join(each.read_text(encoding="ascii", errors="replace") for each in files)
    except OSError as error:
        raise InvalidSpec(
            error.strerror or error,
            field=f"{name}={value}",
            allowed=f"a file of the authorities' certificates (PEM), or unset {name}",
        ) from error
    blocks = _CERTIFICATE.findall(text)
    try:
        _context("\n".join(blocks))
    except (ssl.SSLError, ValueError) as error:
        raise InvalidSpec(
            f"holds a damaged certificate ({error})",
            field=f"{name}={value}",
            allowed="the authorities' certificates as PEM",
        ) from error
    if not blocks:
        raise InvalidSpec(
            "no certificate in it",
            field=f"{name}={value}",
            allowed=f"the authorities' certificates as PEM (-----BEGIN CERTIFICATE-----), or unset {name}",
        )
    return "\n".join(blocks) + "\n"


def refused(where: str, address: str, error: object) -> Untrusted | None:
    """The error for what a TLS library says of an address; None where it is about something else."""
    low = str(error).lower()
    if any(word in low for word in _NO_TLS):
        return Untrusted(f"{where}: {address} does not speak TLS; is it http:// instead of https://?")
    if TLS_WANTED in low:
        return Untrusted(f"{where}: {address} speaks TLS; give it as https://")
    if "certificate" not in low:
        return None
    for words, meaning, help_text in _REASONS:
        if any(word in low for word in words):
            given = [f"{name}={os.environ[name]}" for name in VARIABLES if os.environ.get(name)]
            now = f" (now {', '.join(given)})" if given else ""
            return Untrusted(f"{where}: the certificate of {address} {meaning}; {help_text}{now}")
    return None
