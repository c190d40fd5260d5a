"""What is secret in a text, an address or a parameter, and what is shown in its place: the one rule for all we write.

A redacted text keeps what helps a person: scheme, host, path, and the name of what was hidden.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from itertools import pairwise
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import unquote_plus, urlsplit

HIDDEN = "***"
KEY_CHARS = 8  # a key of the surroundings is at least so long
SHORTEST = 6  # characters of a known value that is looked for in texts; shorter ones would hide half of what is said
# The values of these are hidden wherever they turn up.
VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "SHIPWAY_KFP_TOKEN", "SHIPWAY_KFP_COOKIE")

# These hold the name of a Kubernetes Secret, which a person must read to use it.
_NAMES_OF_SECRETS = re.compile(r"shipway_(store|replica|predictor)_secret", re.I)
_WORDS = {
    "token", "secret", "password", "passwd", "pwd", "passphrase", "signature", "sig", "credential", "credentials",
    "auth", "authorization", "jwt", "cookie", "session", "sas", "hmac", "passwords", "creds", "passcode",
}  # fmt: skip
_ENDINGS = (
    "apikey", "accesskey", "secretkey", "privatekey", "accountkey", "sharedkey", "signingkey", "subscriptionkey",
    "authkey", "accesskeyid", "sessionid", "accesstoken", "authtoken", "refreshtoken", "idtoken", "sessiontoken",
    "securitytoken", "clientsecret", "authservicesession", "password", "passwd", "clientkeydata",
)  # fmt: skip
# What a signature comes with: it changes with each signing, and tells nobody anything without it.
_SIGNED = re.compile(
    r"x-(amz|goog)-.*|expires|policy|key-pair-id|googleaccessid|awsaccesskeyid|s[epvrti]|spr|sip|s[ak][a-z]{1,4}", re.I
)
_SIGNATURE = re.compile(r"x-(amz|goog)-signature|signature|sig", re.I)
# Hosts whose addresses are secrets as a whole: who knows the path may post.
_HOOKS = re.compile(
    r"(^|\.)(hooks\.slack\.com|webhook\.office\.com|logic\.azure\.com|environment\.api\.powerplatform\.com|"
    r"discord(app)?\.com|chat\.googleapis\.com|api\.telegram\.org|hooks\.zapier\.com|maker\.ifttt\.com|webhook\.site|"
    r"events\.pagerduty\.com|api\.opsgenie\.com|outlook\.office(365)?\.com)$",
    re.I,
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\`]+")
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s]*@")
_USER_WITH_SLASH = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s:@]*:(?!\d{1,5}(?:[/?#]|$))\S*@")
_PAIR = re.compile(r"(?<=[?&;#])([^=&;#\s?]+)=([^&;#\s]*)")
_HEADER = re.compile(
    r"((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token|x-amz-security-token)"
    r"([\"']?\s*[:=]\s*[\"']?)([^\"'\r\n]+)",
    re.I,
)
_BEARER = re.compile(r"\b(Bearer)\s+(?=\S*[\d._~+/=-])[^\s\"',;]{6,}", re.I)
_VALUE = r"(\"[^\"]*\"|'[^']*'|[^\s,;&\"'}\])]+)"
_PLAIN = re.compile(_VALUE)
_ASSIGNED = re.compile(r"(?:(?<![\w.\\-])|(?<=\\u0026)|(?<=\\[nrt])|(?<=--))([?&;]?)([A-Za-z][\w.-]*)=")
_ENCODED = re.compile(r"(?<=%3F|%26)([A-Za-z][\w.-]*)(%3D)((?:(?!%26)[^\s&\"'<>])+)", re.I)  # an address within another
# A line of a file of settings, and a word of a command line.
_LINE = re.compile(rf"^([ \t]*(?:- )?(?:export )?)([A-Za-z][\w.-]*)([ \t]*[:=][ \t]+){_VALUE}([ \t]*(?:#.*)?)$", re.M)
_FLAG = re.compile(r"(?<!\S)(--)([a-z][\w-]*)(?<!-file)(?<!-path)(?<!-name)([ \t]+)(?!-)(\S+)")
_QUOTED = re.compile(r"(\\{0,31}[\"'])([A-Za-z][\w.-]*)\1\s*:\s*(?:(\\{0,31}[\"'])|\d{4,})")
_PRIVATE = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]*")

_known: set[str] = set()
_guard = threading.Lock()


def text(given: str) -> str:
    """A text as it may be shown: addresses, headers, `name=value` pairs and known values without what is secret."""
    for value in _values():
        given = given.replace(value, HIDDEN)
    if "://" in given:
        given = _URL.sub(lambda match: address(match[0]), given)
    given = _HEADER.sub(lambda match: f"{match[1]}{match[2]}{HIDDEN}", given)
    given = _BEARER.sub(rf"\1 {HIDDEN}", given)
    if "=" in given:
        given = _hide_assigned(given)
    if "%" in given:
        given = _ENCODED.sub(
            lambda match: f"{match[1]}{match[2]}{HIDDEN}" if is_secret_name(match[1]) else match[0], given
        )
    given = _FLAG.sub(_hide_value, _LINE.sub(_hide_value, _PRIVATE.sub(rf"\1{HIDDEN}", given)))
    return _hide_quoted(given)


def _hide_assigned(given: str) -> str:
    """Of `name=value`; what another value holds is looked at, too."""
    parts, at = [], 0
    for match in _ASSIGNED.finditer(given):
        is_secret = is_secret_name(match[2]) or (
            bool(match[1]) and match[2].lower() == "key"
        )  # a path without its host
        value = _PLAIN.match(given, match.end()) if is_secret and match.start() >= at else None
        if value is not None and not value[0].startswith(HIDDEN):
            parts += [given[at : match.end()], HIDDEN]
            at = value.end()
    return "".join([*parts, given[at:]])


def _hide_value(match: re.Match[str]) -> str:
    """Of `name: value` and `--name value`."""
    if not is_secret_name(match[2]) or match[4].startswith(HIDDEN) or is_reference(match[4]):
        return match[0]
    return f"{match[1]}{match[2]}{match[3]}{HIDDEN}{match[5] if match.re is _LINE else ''}"


def _hide_quoted(given: str) -> str:
    """Of `"name": "value"`, also within a text that is itself a value, however often."""
    parts, at = [], 0
    for match in _QUOTED.finditer(given):
        if match.start() < at or not is_secret_name(match[2]):
            continue
        start, end, quote = match.start(3), match.end(), match[3] or ""
        if quote:
            closing = re.compile(rf"(?<!\\){re.escape(quote)}").search(given, end)
            end = closing.end() if closing else len(given)
            if closing and closing.start() == match.end():  # of an empty value there is nothing to hide
                continue
        else:
            start = match.start() + len(match[0].rstrip("0123456789"))
        parts += [given[at:start], f"{match[1]}{HIDDEN}{match[1]}"]
        at = end
    return "".join([*parts, given[at:]])


def address(url: str) -> str:
    """An address without user, password and secret query values; of a webhook's only scheme and host."""
    shown = _USER.sub(rf"\1{HIDDEN}@", url)
    shown = _USER_WITH_SLASH.sub(rf"\1{HIDDEN}@", shown)
    if _HOOKS.search(_host(shown)) and not _is_bare(shown):
        return host_of(shown)
    names = [unquote_plus(name) for name, _ in _PAIR.findall(shown)]
    signed = any(_SIGNATURE.fullmatch(name) for name in names)

    def hide(match: re.Match[str]) -> str:
        name, value = unquote_plus(match[1]), unquote_plus(match[2])
        is_secret = name.lower() == "key" or is_secret_name(name) or (signed and _SIGNED.fullmatch(name))
        if not is_secret and "://" in value:  # an address within an address
            is_secret = address(value) != value
        return f"{match[1]}={HIDDEN}" if is_secret and value else match[0]

    return _PAIR.sub(hide, shown)


def host_of(url: str) -> str:
    """Scheme and host: in a webhook's address the path is the secret."""
    scheme, host = url.partition("://")[0], _host(_USER_WITH_SLASH.sub(rf"\1{HIDDEN}@", url))
    return f"{scheme}://{host}/{HIDDEN}"


def holds_credentials(address: str) -> bool:
    """Whether an address has a user or a password before its host, written rightly or with characters that break it."""
    _, separator, rest = address.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return bool(separator) and (
        "@" in host or ("@" in rest and not re.fullmatch(r"[\w.\-]*(:\d*)?|\[[^]]*\](:\d*)?", host))
    )


def place(address: str) -> str:
    """Where an address leads, for an error about it: no user, no password, `?...` in place of what follows a `?`.

    Stricter than `address`, which shows the query's names and what is no secret by its name.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    if holds_credentials(address):
        rest = rest.rpartition("@")[2]
    plain, mark, _ = rest.partition("?")
    return f"{scheme}://{plain}{'?...' if mark else ''}"


def parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they may be kept or shown."""
    return {key: value_of(str(key), value) for key, value in given.items()}


def value_of(name: str, value: Any) -> Any:
    """One parameter's value as it may be kept or shown: of a secret one only that it was given."""
    if isinstance(value, bool) or value is None or value == "" or str(value).startswith(HIDDEN):
        return value
    if "webhook" in name.lower() and isinstance(value, str) and "://" in value:
        return host_of(value)
    if (is_secret_name(name) or "webhook" in name.lower()) and not is_reference(value):
        return address(value) if isinstance(value, str) and "://" in value and address(value) != value else HIDDEN
    if isinstance(value, Mapping):
        return parameters(value)
    if isinstance(value, list | tuple):
        return [value_of(name, each) for each in value]
    if isinstance(value, str) and holds_credentials(value):  # also where its characters break what an address is
        scheme, _, rest = value.partition("://")
        return address(f"{scheme}://{HIDDEN}@{rest.rpartition('@')[2]}")
    return text(value) if isinstance(value, str) else value


def is_reference(value: Any) -> bool:
    """Whether a value only says where the secret lies: `env:NAME`."""
    return isinstance(value, str) and bool(re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", value))


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is secret: `token`, `api_key`, `dbPassword`; not `tokenizer` or `max_tokens`."""
    if _NAMES_OF_SECRETS.fullmatch(name):
        return False
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = [word for word in re.split(r"[^a-z0-9]+", spread.lower()) if word]
    return not _WORDS.isdisjoint(words) or "".join(words).endswith(_ENDINGS)


def know(*values: str) -> None:
    """From here on these values are hidden in every text, whatever stands around them.

    Not where the value is a word for secrets itself: a password "secret" would take that word out of every message, and
    by what is missing everybody could read it.
    """
    with _guard:
        _known.update(value for value in values if len(value) >= SHORTEST and value.lower() not in _WORDS)


def know_key(*values: str) -> None:
    """Knows keys and tokens of the surroundings; a plain word among them would hide what it means elsewhere."""
    know(*(value for value in values if _is_key(value)))


def _is_key(value: str) -> bool:
    return len(value) >= KEY_CHARS and not (value.isalpha() and value.islower())


def know_address(url: str) -> None:
    """Knows the secret parts of an address by themselves: libraries show a path without its host."""
    parts, rest = address(url).split(HIDDEN), url
    for before, after in pairwise(parts):
        rest = rest.removeprefix(before)
        end = rest.find(after) if after else len(rest)
        hidden, rest = rest[:end], rest[end:]
        name = re.search(r"([^?&;#=]+)=$", before)
        if name is None or name[1].lower() == "key" or is_secret_name(unquote_plus(name[1])):
            know(hidden, unquote_plus(hidden))  # not a signature's date and version: they mean something elsewhere
        if after.startswith("@"):  # of a password with a slash in it, a library takes a part for the host or the port
            know(*re.split(r"[/:@]", hidden.partition(":")[2]))


def know_hook(url: str) -> None:
    """Knows a webhook's path."""
    path = url.partition("://")[2].partition("/")[2]
    know(path, *(part for part in re.split(r"[/?&=#]", path) if len(part) >= 16))


def _values() -> list[str]:
    with _guard:
        values = set(_known)
    values |= {value for name in VARIABLES if _is_key(value := os.environ.get(name, ""))}
    return sorted(values, key=len, reverse=True)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_bare(url: str) -> bool:
    return url.partition("://")[2].partition("/")[2] in ("", HIDDEN)


class Stream:
    """A text stream that writes what may be shown."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, given: str) -> int:
        self._stream.write(text(given))
        return len(given)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_streams() -> None:
    """Standard output and error of this process show no secret, whoever prints: libraries and tracebacks too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Stream):
            setattr(sys, name, Stream(stream))


def guard_tracebacks() -> None:
    """What ends this process with a traceback shows no secret in it."""

    def show(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        print(text("".join(traceback.format_exception(kind, error, where))), file=sys.stderr, end="")

    sys.excepthook = show
