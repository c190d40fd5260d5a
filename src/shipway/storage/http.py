"""Files behind HTTP addresses: their identity, and downloads that go on where they broke off.

The standard library's client: it follows the machine's proxies and certificates, and nothing here needs more.
"""

from __future__ import annotations

import email.message
import hashlib
import http.client
import os
import socket
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from shipway import redaction
from shipway.errors import InvalidData, NotFound, StorageUnavailable
from shipway.patience import Patience, retry_after
from shipway.storage import s3_codes, trust
from shipway.storage.base import RESERVED
from shipway.storage.local import disk_error

PATIENCE = Patience(attempts=4)  # without any progress between them
TIMEOUT_S = 20.0
BLOCK = 1 << 20
_LATER = "try again later, or download it yourself and give the file"


def identity(url: str) -> list[str]:
    """What tells one content of this address from another: ETag, or Last-Modified and length, or the content's hash."""
    with closing(_head(url)) as answer:
        headers = answer.headers
        _refuse_page(url, headers)
        length = headers.get("Content-Length", "")
        if headers.get("ETag"):
            return ["etag", headers["ETag"], length]
        if headers.get("Last-Modified") and length:
            return ["modified", headers["Last-Modified"], length]
    digest = hashlib.sha256()
    for block in _blocks(url, lambda _headers: None):
        if block is not None:
            digest.update(block)
        else:
            digest = hashlib.sha256()
    return ["sha256", digest.hexdigest(), ""]


def download(url: str, folder: Path, name_of: Callable[[str | None, str], str]) -> Path:
    """Downloads into `folder`; the file appears whole or not at all.

    Args:
        url: Where from.
        folder: Where to.
        name_of: (file name the server offers, media type) to the file's name; may refuse.

    Raises:
        NotFound: 404 or 410.
        InvalidData: another refusal, or `name_of`'s.
        StorageUnavailable: no answer, or broken off again and again.
    """
    temporary = folder / f"{RESERVED}{uuid.uuid4().hex}"
    names: list[str] = []

    def see(headers: email.message.Message) -> None:
        _refuse_page(url, headers)
        names[:] = [name_of(headers.get_filename(), headers.get_content_type())]

    try:
        with open(temporary, "wb") as file:
            for block in _blocks(url, see):
                if block is not None:
                    file.write(block)
                else:  # the server starts again from the beginning
                    file.seek(0)
                    file.truncate()
        path = folder / names[0]
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _blocks(url: str, see: Callable[[email.message.Message], None]) -> Iterator[bytes | None]:
    """The content in blocks; None means: forget what came before, it starts again."""
    done, furthest, validator, tries = 0, 0, "", PATIENCE.tries()
    while True:
        try:
            with closing(_open(url, _resume(done, validator))) as answer:
                if done and not _continues(answer, done):
                    done = 0
                    yield None
                see(answer.headers)
                total = _total(answer, done)
                validator = _strong(answer.headers.get("ETag", ""))
                while block := answer.read(BLOCK):
                    done += len(block)
                    yield block
                if total is None or done >= total:
                    return
                reason = f"broke off at {done} of {total} bytes"
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = f"broke off at {done} bytes ({error or type(error).__name__})"
        if done > furthest:
            furthest, tries = done, PATIENCE.tries()
        if not tries.again():
            raise StorageUnavailable(
                f"data {redaction.place(url)!r}: {reason}, {PATIENCE.attempts} times; try again later"
            )


def _resume(done: int, validator: str) -> dict[str, str]:
    if not done:
        return {}
    # Without a strong validator the rest could be another version's: start again.
    return {"Range": f"bytes={done}-", "If-Range": validator} if validator else {}


def _continues(answer: Any, done: int) -> bool:
    return answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {done}-")


def _total(answer: Any, done: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return done + int(length) if length is not None and length.isdigit() else None


def _strong(etag: str) -> str:
    return "" if etag.startswith("W/") else etag


def _refuse_page(url: str, headers: email.message.Message) -> None:
    """A login or an error in the shape of a web page must not be taken for rows, whatever the address ends in."""
    if headers.get_content_type() == "text/html" and "Content-Type" in headers and headers.get_filename() is None:
        raise InvalidData(
            "the server answers with a web page (text/html), not a file of rows",
            field=f"data {redaction.place(url)!r}",
            fix="give the file's own address, or download it yourself and give the file",
        )


def _head(url: str) -> Any:
    try:
        return _open(url, {}, method="HEAD")
    except InvalidData:  # some servers refuse HEAD
        return _open(url, {})


def _open(url: str, headers: dict[str, str], method: str = "GET") -> Any:
    """The open answer; 5xx and connections that fail are tried again."""
    try:
        parts = urlsplit(url)
        reason = "" if parts.hostname and (parts.port is None or parts.port > 0) else "it names no host"
        wrong = next((character for character in url if not "!" <= character <= "~"), "") if not reason else ""
        if wrong and (wrong <= " " or wrong not in parts.netloc):
            reason = f"it holds {wrong!a}: write that as {quote(wrong)}"
    except ValueError as error:
        reason = str(error)
    if reason:
        raise InvalidData(
            f"not an address ({reason})", field=f"data {redaction.place(url)!r}", allowed="http://host/rows.csv"
        )
    request = urllib.request.Request(
        url, headers={"User-Agent": "shipway", "Accept-Encoding": "identity", **headers}, method=method
    )
    tries, where = PATIENCE.tries(), f"data {redaction.place(url)!r}"
    cause: Exception
    while True:
        asked_s = None
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT_S, context=trust.context())
        except urllib.error.HTTPError as error:
            body = _beginning(error)
            if error.code < 500 and error.code not in (408, 429):
                raise _refusal(url, error, body) from error
            cause, asked_s = error, retry_after(error.headers)
            problem = f"the server answers {error.code} {error.reason}"
        except urllib.error.URLError as error:
            if isinstance(error.reason, socket.gaierror):
                raise InvalidData(
                    f"unknown host {urlsplit(url).hostname!r}", field=where, given=urlsplit(url).hostname
                ) from error
            if untrusted := trust.refused("data", repr(redaction.place(url)), error.reason):
                raise untrusted from error
            cause, problem = error, f"nobody answers ({error.reason})"
        except (OSError, http.client.HTTPException) as error:
            cause, problem = error, f"no answer ({error or type(error).__name__})"
        except ValueError as error:
            raise InvalidData(f"not an address ({error})", field=where) from error
        if not tries.again(asked_s):
            raise StorageUnavailable(f"{where}: {problem}; {_LATER}") from cause


def _beginning(error: urllib.error.HTTPError) -> str:
    with suppress(OSError, http.client.HTTPException), closing(error):
        return error.read(4096).decode(errors="replace")
    return ""


def _refusal(url: str, error: urllib.error.HTTPError, body: str) -> Exception:
    where, answer = f"data {redaction.place(url)!r}", f"the server answers {error.code} {error.reason}"
    if error.code in (404, 410):
        return NotFound(f"{answer}; no such file there", field=where)
    if trust.TLS_WANTED in body.lower():
        return InvalidData("the server speaks TLS", field=where, fix="give the address as https://")
    code = s3_codes.code_of(body)
    if code == "RequestTimeTooSkewed":
        return InvalidData(f"{answer} ({code}); {s3_codes.clock_hint(url)}", field=where)
    shown = f" ({code})" if code else ""
    if "expired" in f"{code} {body}".lower():
        return InvalidData(
            f"{answer}: the signed address, or the token in it, has expired{shown}; get a new "
            "one, or download it yourself and give the file",
            field=where,
        )
    hint = "; it wants a login: download it yourself and give the file" if error.code in (401, 403) else ""
    return InvalidData(f"{answer}{shown}{hint}", field=where)
